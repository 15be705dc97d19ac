"""Qwen3.5-Omni: configuration, prompt rules, processor, and a Thinker with hybrid attention.

In: media items and token ids; out: expanded prompts with positions, Thinker logits and hidden states.
May import `models/{thinker,layers}`; never `qwen3_omni`, and not its own Talker in `models/aria`.
"""
