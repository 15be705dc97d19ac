"""Reads a checkpoint folder: model family, voices, model card, media sizes. Loads no weights.

In: a folder and its config. Out: `Family`, `Voice`s, `ModelCard`, `MediaGeometry`. Imports `models` and
everything below it.
"""
