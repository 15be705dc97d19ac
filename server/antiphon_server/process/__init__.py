"""The server as a process: checks before loading, start, uvicorn, console output, memory tuning, shutdown.

In: settings. Out: an exit code. Imports everything except `cli`.
"""
