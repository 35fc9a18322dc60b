"""Measurements behind docs/performance.md, one file per benchmark: `make bench`."""
