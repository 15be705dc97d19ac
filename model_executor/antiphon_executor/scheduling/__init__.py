"""Which requests run in an engine's next step: vLLM's schedulers with real-time deadlines.

Runs in the engines' processes. Imports `models`, `ipc`, `interface`.
"""
