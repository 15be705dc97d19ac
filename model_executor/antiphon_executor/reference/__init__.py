"""Qwen3.5-Omni in plain PyTorch: the definition of the architecture, the test oracle, and trainable.

In: prompts, voices, utterances; out: text, frames, waveforms, or losses. Nothing is cached or batched.
May import configurations and pure rules of `models`, and `interface`.
"""
