"""Auxiliary heads and losses that help training and are not exported.

Takes: hidden states and the labels of media. Gives: losses by name.
May import: `thinker.network`, `thinker.seeing`, `thinker.hearing`.
"""
