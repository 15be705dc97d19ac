"""The settings of one server: one frozen tree, its sources (flags, environment, YAML, tiers) and its defaults.

In: the command line and the environment. Out: `Settings` and the origin of each value. May import the packages
whose policies are part of the tree: `media`, `admission`, `openai_api` and the engine's interface.
"""
