"""Chat requests: what is asked of the engine, how the request runs, and what its answer is made of.

In: `openai_api` requests. Out: `openai_api` responses, whole or in parts. Imports `observability` and below.
"""
