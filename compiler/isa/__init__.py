"""The instruction set: one table (`spec`), and what derives from it."""
