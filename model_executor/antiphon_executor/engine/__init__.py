"""The omni engine: starts the Thinker and the Talker and runs requests through both.

In: `EngineSettings`. Out: an `interface.engine.OmniEngine`. Imports every other package of the executor.
"""
