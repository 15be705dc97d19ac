"""Qwen3-Omni: the Thinker, its processor, and the Talker with text on a track of its own."""
