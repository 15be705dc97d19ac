"""How the model antiphon-nano is made: training data, training, evaluation and export.

Takes: Python packages alone. Gives: the checkpoint that the product ships. Not part of the wheel.
May import: `antiphon_executor`. No product module imports it.
"""
