"""Sound: recorded questions and texts in many voices, tones, noise, and log-mel frames.

Takes: shards of speech. Gives: labelled sounds, with question and answer.
May import: `thinker.asking`, `thinker.dialogue`, `teacher`.
"""
