"""`antiphon bench`: measure a server over HTTP, this one or any other."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon_server.bench.cli import make_parser, read_options

__all__ = ["make_parser", "run"]


def run(argv: Sequence[str]) -> int:
    options = read_options(argv)
    from antiphon_server.bench.run import run as run_bench

    return run_bench(options)
