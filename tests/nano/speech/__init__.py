"""Codec, vocoder and Talker training."""
