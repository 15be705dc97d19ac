"""The neural models as vLLM runs them: two families, and the parts that they share.

In: vLLM's batches; out: logits for vLLM, hidden states and speech frames for the bridge.
May import `ipc` and `interface`. A family imports shared parts, never the other family.
"""
