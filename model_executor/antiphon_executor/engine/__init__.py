"""The omni engine: starts the Thinker and the Talker and serves requests through both.

In: `EngineSettings`. Out: an engine after `interface.engine`. Imports everything below it.
"""
