"""Judging speech: transcripts by Whisper, word error rates, spectra, the report file and its gates.

Takes: shards of speech. Gives: figures in a JSON report; a gate fails if a figure is not good enough.
May import: `teacher`, `domain`.
"""
