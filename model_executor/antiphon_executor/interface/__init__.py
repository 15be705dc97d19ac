"""The executor's public interface: the only modules of it that the server imports.

In: an `OmniRequest`. Out: its `OmniEvent`s, the model card, the engine's status. Plain types without torch or
vLLM; imports `shipped` only.
"""
