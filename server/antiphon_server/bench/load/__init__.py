"""The load of a benchmark: request bodies, the times at which they are sent, and the HTTP client.

In: options; out: one `StreamRecord` per request. Imports `bench.measure`, `bench.options` and `media`.
"""
