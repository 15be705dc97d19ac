"""Sound of a realtime conversation: formats, resampling, turns in the input, what was heard of the output."""
