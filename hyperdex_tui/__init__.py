"""The terminal app of HyperDex: models, compiles, programs, memory maps and generation."""
