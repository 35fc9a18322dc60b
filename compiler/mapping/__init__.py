"""Phase 3: which device holds what, and at which HBM address.

A graph and a target become a memory map (`plan`, of the `regions` that the graph needs), the map and a converted
checkpoint become channel contents (`fill`), and `verify` checks both by
other means.
"""
