"""The parts of an OpenAI response: chunks, completions, packets of speech, word timestamps, tool calls.

In: the engine's events. Out: `openai_api` responses. Imports the rest of `chat` and below.
"""
