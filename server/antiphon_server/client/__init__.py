"""What `antiphon chat`, `say` and `transcribe` do: a client of any OpenAI-compatible server.

In: flags and files. Out: text, audio files, sound. It talks to the server over HTTP alone. Imports `bench`
(its parser of chunks), `media.ffmpeg`, `config.parser` and the exit codes.
"""
