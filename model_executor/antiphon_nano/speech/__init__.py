"""Codec, vocoder and Talker: what is trained so that antiphon-nano speaks."""
