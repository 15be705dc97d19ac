"""The Talker: text to codes, its lessons, losses, training stage and trial.

Takes: shards with codes and word alignments. Gives: `talker.safetensors`, trial speech for the judge.
May import: `speech.vocoder`, `speech.codec`, `speech.recordings`.
"""
