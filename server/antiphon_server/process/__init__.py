"""The server as a process: checks before loading, start, HTTP server, console, memory tuning, shutdown.

In: settings. Out: an exit code. May import every package but `cli`.
"""
