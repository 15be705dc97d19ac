"""Decoder processes: a fork server, its confined workers (one job each), and the pool that runs jobs. Linux
only.

In: jobs and encoded bytes; out: decoded bytes and reports. Imports `media.policy`, `media.source` and errors.
"""
