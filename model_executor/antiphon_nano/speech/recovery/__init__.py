"""Recovery of a codec from an exported checkpoint, so that its Talker can be trained further.

Takes: a checkpoint without its training files. Gives: `codec.safetensors`, and the codes of each shard.
May import: `speech.vocoder`, `speech.codec`, `speech.recordings`.
"""
