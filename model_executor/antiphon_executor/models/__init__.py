"""The models as vLLM runs them, by family and by part.

Imports `ipc` and `interface`; never `turn` or `engine`.
"""
