"""Texts to read aloud: what is asked of the engine, how the request runs, and the audio of its answer.

In: `openai_api.audio` requests. Out: the bytes or the events of an answer. Imports `chat` and below.
"""
