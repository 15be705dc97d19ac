"""Training of all that speaks: codec, vocoder and Talker.

Takes: shards of the teacher's speech. Gives: checkpoints of the three, trial speech for the judge.
May import: `judging`, `training`, `teacher`, `domain`.
"""
