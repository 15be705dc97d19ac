"""Which requests run in an engine's next step: vLLM's schedulers with real-time pacing of speech streams.

Runs inside the engine processes; in: requests, client cursors, step times; out: the batch of each step.
May import `models` (its shared parts, never a family), `ipc` and `interface`.
"""
