"""Media behind URLs: which hosts and addresses are allowed, and the HTTP client that fetches.

In: URLs; out: bytes, or `BadRequest`. Imports `media.budget`, `part`, `policy` and errors.
"""
