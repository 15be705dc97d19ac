"""The reference Thinker on padded batches: embedding, hidden states, loss, greedy decoding.

Takes: samples of dialogues. Gives: hidden states, losses, token ids.
May import: `thinker.dialogue`.
"""
