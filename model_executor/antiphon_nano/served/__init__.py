"""The evaluation through the server: questions over HTTP, and marks for the answers.

Takes: an exported checkpoint. Gives: figures in the report, recorded answers for the judge.
May import: `thinker`, `judging`, `teacher`, `domain`.
"""
