"""The export: one checkpoint and its model card, from the files that the training stages left.

Takes: the folder of the stages. Gives: a checkpoint folder as the server loads it.
May import: every package of `antiphon_nano` but `served`.
"""
