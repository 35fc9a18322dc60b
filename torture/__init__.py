"""Faults, injected on purpose: every promise of docs/reliability.md, attacked. See `python -m torture --help`."""
