"""Qwen3-Omni: Thinker, processor, positions, and a Talker whose text is a track of its own.

In: media items, token ids, a Thinker prompt; out: Thinker logits and hidden states, Talker frames.
May import `models/{thinker,talker,code2wav,layers}`; never another family.
"""
