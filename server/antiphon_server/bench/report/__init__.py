"""The result of a benchmark as figures, a text table, an SVG plot and a JSON file.

In: records of each level; out: text and files. Imports `bench.load`, `bench.measure` and `bench.options`.
"""
