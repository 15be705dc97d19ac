"""The settings of one server: one frozen tree, its sources (flags, environment, YAML, tiers), its defaults.

In: the command line and the environment. Out: `Settings` and each value's origin. May import the policies
that are part of the tree: of `media`, `admission`, `openai_api` and the engine's interface.
"""
