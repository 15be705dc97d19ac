"""A stage is one vLLM engine: its arguments, start, supervision, restarts and metrics.

In: `EngineSettings`. Out: a running, supervised `Stage`. Imports `scheduling` and everything below it.
"""
