"""The wire types of `POST /v1/responses`: its request, its input items, its answer and the events of it."""
