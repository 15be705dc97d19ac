"""The output of `POST /v1/responses`: its items and events, from the text and speech of an answer."""
