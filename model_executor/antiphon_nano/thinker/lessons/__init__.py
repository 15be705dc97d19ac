"""Lessons: the mix of dialogues, with real or imagined media, that the Thinker is trained on.

Takes: a source of media, a source of random numbers. Gives: dialogues.
May import: `thinker.asking`, `thinker.seeing`, `thinker.hearing`.
"""
