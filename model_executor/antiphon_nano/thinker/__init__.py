"""Training of the Thinker: reading, listening, looking and answering.

Takes: generated dialogues, pictures and clips, and recorded voices. Gives: `thinker-polished.safetensors`.
May import: `judging`, `training`, `teacher`, `domain`.
"""
