"""The server's side of decoding: detects formats, runs decode jobs in `media.sandbox`, checks the results.

In: encoded bytes of a part; out: arrays, or `BadRequest`. Imports `media.sandbox`, `sizing` and below.
"""
