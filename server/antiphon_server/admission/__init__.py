"""Admission control: bounded queues, fair sharing between API keys, cost estimates and rate limits.

In: what a request asks for. Out: a slot, or a refusal with `Retry-After`; the figures for `/metrics`.
Imports `errors` and the executor's interface.
"""
