"""The wire types of the audio routes: speech of a text, transcripts of recordings.

In: JSON or form fields. Out: checked requests, and answers to write. Imports the rest of `openai_api`.
"""
