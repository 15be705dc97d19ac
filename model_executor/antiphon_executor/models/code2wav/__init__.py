"""The vocoder Code2Wav as a streaming model: state by slot, any number of frames per step.

In: code frames; out: a 24 kHz waveform, identical to the one-shot decoding of transformers.
May import the kernels only.
"""
