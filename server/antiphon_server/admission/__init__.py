"""Admission control: bounded queues, fair sharing between API keys, cost estimates, rate limits, refusals.

In: what a request asks for. Out: a reservation, or a refusal with `Retry-After`. Imports `errors` alone.
"""
