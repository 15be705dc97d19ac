"""The HTTP application: connections, middleware, body limits, routes, streaming responses, error responses.

In: bytes of HTTP. Out: requests for `chat`, and its answers as HTTP. Imports `chat` and everything below it.
"""
