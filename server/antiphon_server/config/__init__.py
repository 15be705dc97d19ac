"""The settings of one server: one frozen tree, its sources (flags, environment, YAML, tiers), its defaults.

In: the command line and the environment. Out: `Settings` and each value's origin. Imports the media policy
and the engine's settings, which are part of the tree.
"""
