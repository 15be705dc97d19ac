"""`antiphon completion`: a shell completion script, made by shtab from the parsers of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from antiphon_server.cli.main import COMMANDS, load_command
from antiphon_server.config.parser import FlagParser

SHELLS = ("bash", "zsh", "tcsh")


def make_parser() -> FlagParser:
    parser = FlagParser(
        "antiphon completion",
        'Print a completion script. For bash: eval "$(antiphon completion bash)" in ~/.bashrc.',
        "SHELL",
    )
    parser.add_argument("shell", choices=SHELLS, help="bash, zsh or tcsh", metavar="SHELL")
    return parser


def run(argv: Sequence[str]) -> int:
    print(completion_script(make_parser().parse(argv).shell))  # noqa: T201
    return 0


def completion_script(shell: str) -> str:
    """`shell`: one of `SHELLS`."""
    import shtab

    from antiphon_server.config.flags import show_all

    root = argparse.ArgumentParser("antiphon")
    root.add_argument("--version", action="store_true", help="show the version and exit")
    commands = root.add_subparsers()
    for name, summary in COMMANDS.items():
        parser = load_command(name).make_parser()
        show_all(parser)
        commands.add_parser(name, help=summary, parents=[parser], add_help=False)
    script: str = shtab.complete(root, shell)
    return script
