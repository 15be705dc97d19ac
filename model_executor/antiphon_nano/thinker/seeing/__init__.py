"""Pictures and video clips: drawn shapes, questions about them, and vision patches.

Takes: a source of random numbers. Gives: labelled pictures and clips, with question and answer.
May import: `thinker.asking`, `thinker.dialogue`.
"""
