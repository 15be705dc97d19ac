"""The training stages of the Thinker, one command each, in the order of the Makefile.

Takes: the checkpoints of earlier stages. Gives: a checkpoint, resumed when the command is run again.
May import: every package of `thinker` but `thinker.exams`.
"""
