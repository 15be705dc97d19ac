"""The synthetic voices that antiphon-nano learns from, their alignment, and the file format of speech.

Takes: texts. Gives: shards: speech with the frame in which each token begins.
May import: `domain`.
"""
