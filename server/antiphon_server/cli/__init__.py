"""The command `antiphon` and its subcommands: `serve`, `plan`, `doctor`, `config`, `tiny`, `bench`.

In: the command line. Out: an exit code. Each subcommand imports only what it needs. May import everything.
"""
