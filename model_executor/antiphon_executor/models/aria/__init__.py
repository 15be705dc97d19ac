"""The ARIA Talker of Qwen3.5-Omni: text and frames interleaved in one stream."""
