"""Chat answers as HTTP responses, whole or as server-sent events.

In: a running request of `chat`. Out: ASGI messages. Imports the rest of `http` and below.
"""
