"""The graph: a decoder as a list of operations on named values, before any device is known."""
