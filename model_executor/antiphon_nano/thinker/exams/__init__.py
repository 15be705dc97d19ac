"""Exams of the Thinker before it is served: questions, gates, and the share of right answers.

Takes: checkpoints of the stages. Gives: figures in `thinker-report.json`.
May import: every package of `thinker`.
"""
