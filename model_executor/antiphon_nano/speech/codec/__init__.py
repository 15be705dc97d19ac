"""The codec: 24 kHz speech to 8 codes per 80 ms frame, and its training.

Takes: shards of speech. Gives: `codec.safetensors`, and the codes of each shard.
May import: `speech.recordings`.
"""
