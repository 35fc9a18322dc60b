"""Phase 2: Hugging Face weights, safetensors or `.bin`, become one JSON file and one binary file."""
