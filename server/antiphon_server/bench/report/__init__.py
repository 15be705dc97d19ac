"""The result of a benchmark: figures, tables, plots, files."""
