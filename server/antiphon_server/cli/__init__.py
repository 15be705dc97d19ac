"""The command `antiphon`; each subcommand is a module of this package with `make_parser` and `run`.

In: the command line. Out: text and an exit code. May import every other package, and only when it is needed.
"""
