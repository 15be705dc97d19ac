"""`antiphon bench URL`: measures latency, steadiness and cost of any OpenAI-compatible omni endpoint.

In: a URL and flags; out: a table, JSON and SVG. It talks to the server over HTTP alone and imports only
`config`, `media` (ffmpeg, WAV headers) and below.
"""
