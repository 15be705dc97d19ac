"""Questions and their answers as text, one module per kind of question.

Takes: a source of random numbers. Gives: typed dialogues, and the wording of questions about media.
May import: `thinker.dialogue`, `domain`.
"""
