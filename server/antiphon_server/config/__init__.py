"""The settings of one server: one frozen tree, its sources (flags, environment, YAML, tiers), defaults.

Imports the policies of `media`, `admission`, `openai_api` and the engine's interface: they are its parts.
"""
