"""A chat request: what is asked of the engine, its life there, and what the answer is made of.

In: `openai_api` requests. Out: `openai_api` responses, a part at a time. Imports `observability` and below.
"""
