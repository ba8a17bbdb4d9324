"""The parts that adapters are built of: token streams with attention and gradient, image encoders, tokenizers."""
