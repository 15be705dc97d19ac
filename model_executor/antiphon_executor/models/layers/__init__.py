"""Layers that several models share: packed M-RoPE, Gated DeltaNet on a CPU, the hidden-states cache."""
