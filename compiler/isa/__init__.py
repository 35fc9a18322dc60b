"""The instruction set: one table (`instructions`), and what derives from it."""
