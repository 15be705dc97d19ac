"""Data-parallel training on one machine: processes that share the steps of a stage.

Takes: gradients of each process. Gives: their mean, in every process.
May import: nothing of `antiphon_nano`.
"""
