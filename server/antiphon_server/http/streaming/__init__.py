"""Events of a request → an HTTP response, whole or as server-sent events."""
