"""The hot operations of Talker and vocoder: each has a plain `reference`, a CPU and a Triton version.

In: tensors; out: tensors of the same dtype and device. Model code calls `dispatch` only.
Needs only torch, and triton for CUDA tensors; imports nothing else of ours.
"""
