"""The Talker's parts that all families share: slots, frame step, sampling, code predictor, weights.

In: hidden states of a family's backbone; out: one frame of codes and audio per stream and step.
May import `models/code2wav`, `ipc` and `interface`; knows no family.
"""
