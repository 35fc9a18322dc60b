"""Phase 4: from a mapped graph to a program that all devices run.

`lower` makes instructions on virtual buffers, `allocate` places the buffers
in the LMU by live range, `verify` checks the result by other means.
"""
