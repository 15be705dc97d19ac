"""What the Thinkers of all families share: requests → vLLM prompts, numbers of multimodal features.

In: an `OmniRequest`; out: vLLM's tokens prompt and the counts of the expanded prompt.
May import `interface` and `models/special_tokens`; knows no family.
"""
