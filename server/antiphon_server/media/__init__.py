"""Media of requests and answers: fetching, sandboxed decoding, and encoding of speech.

In: data URLs, base64 and URLs, or PCM; out: decoded arrays, or encoded files. Imports the executor's
interface, `openai_api.options` (audio formats) and errors.
"""
