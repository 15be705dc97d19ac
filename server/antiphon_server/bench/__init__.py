"""`antiphon bench URL`: measures latency, underruns and cost of any OpenAI-compatible omni endpoint.

In: a URL and flags; out: a table, JSON and SVG. It talks to the server over HTTP alone. Imports `config`,
`media` (ffmpeg, WAV headers), the executor's playback model, and errors.
"""
