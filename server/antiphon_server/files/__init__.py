"""Uploaded files: a bounded folder with a lifetime, in which each file belongs to an API key.

In: the pieces of an upload. Out: a record, and the open file for those who own it. Imports `media` for the
formats, and `errors`.
"""
