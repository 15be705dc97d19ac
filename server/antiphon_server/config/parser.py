"""The argument parser of every command: one-line errors that suggest the flag that was probably meant."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from antiphon_server.exits import ExitCode

_HELP_COLUMN = 37


class FlagParser(argparse.ArgumentParser):
    """`operand`: what stands after the program's name in the usage line, such as `[MODEL]`."""

    def __init__(self, prog: str, description: str, operand: str = "") -> None:
        usage = " ".join(filter(None, (prog, operand, "[FLAGS]")))
        super().__init__(
            prog=prog, usage=usage, description=description, allow_abbrev=False, formatter_class=_Formatter
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Like `parse_args`; an unknown flag ends the process with a usage error and a suggestion."""
        given, unknown = self.parse_known_args(argv)
        known = [name for action in self._actions for name in action.option_strings]
        for word in unknown:
            flag = word.split("=")[0]
            close = difflib.get_close_matches(flag, known, n=1) if flag.startswith("-") else []
            self.error(f"unknown argument {flag!r}" + (f"; did you mean {close[0]}?" if close else ""))
        return given

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2 and one line on standard error."""
        print(f"{self.prog}: {message}\n  hint: '{self.prog} --help' lists the flags", file=sys.stderr)  # noqa: T201
        raise SystemExit(ExitCode.USAGE)


class Switch(argparse.Action):
    """A flag without a value: `--x` stores True, `--no-x` False."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        both = [name for flag in option_strings for name in (flag, f"--no-{flag[2:]}")]
        super().__init__(both, dest, nargs=0, **options)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, is_on(option_string))


def is_on(option_string: str | None) -> bool:
    return not (option_string or "").startswith("--no-")


class _Formatter(argparse.HelpFormatter):
    """`--[no-]x` for a switch, `--x A ...` for a list: one line per flag."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_HELP_COLUMN)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, Switch):
            return ", ".join(f"--[no-]{name[2:]}" for name in action.option_strings[::2])
        return super()._format_action_invocation(action)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == argparse.ONE_OR_MORE:
            return f"{action.metavar or default_metavar} ..."
        return super()._format_args(action, default_metavar)
