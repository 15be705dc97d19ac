"""Recordings to write down or to translate: where speech is, what the model hears in it, and the answer.

In: `openai_api.audio` requests and a decoded recording. Out: texts in OpenAI's formats. Imports
`chat` and below.
"""
