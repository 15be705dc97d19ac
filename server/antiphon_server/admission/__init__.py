"""Admission control: bounded queues, fair sharing between API keys, cost estimates and rate limits.

In: what a request asks for. Out: a reservation, or a refusal with `Retry-After`. Imports `errors` alone.
"""
