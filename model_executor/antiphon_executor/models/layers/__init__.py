"""Layers that several models share: packed M-RoPE, Gated DeltaNet on a CPU, the hidden-states cache.

In: tensors of a vLLM step and its forward context; out: tensors of the same step.
Imports nothing of ours.
"""
