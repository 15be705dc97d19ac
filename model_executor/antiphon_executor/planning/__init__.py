"""Plans memory: weights, caches and slots of both engines, calculated before anything is loaded.

In: a checkpoint's config, the operator's settings, the machine's memory. Out: a `MemoryPlan`. Imports
`reference`, `checkpoint`, `models`, `interface`.
"""
