"""ARIA, the Talker of Qwen3.5-Omni: text tokens and speech frames interleaved in one stream.

In: the Thinker's text in chunks, a voice, multimodal hidden states; out: speech frames.
May import `models/qwen3_5_omni` (configuration, prompt), `models/{talker,code2wav,layers}` and `interface`.
"""
