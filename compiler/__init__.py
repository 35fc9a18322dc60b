"""HyperDex: from a Hugging Face checkpoint to what an LPU runs, and an emulator that runs it."""

__version__ = "0.1.0"
