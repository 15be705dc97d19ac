"""A stage is one vLLM engine: its arguments, start, supervision, restarts, metrics.

Imports `scheduling`, `checkpoint`, `models`, `ipc`, `interface`.
"""
