"""Qwen3.5-Omni in plain PyTorch: the architecture's definition, the executor's oracle, and trainable."""
