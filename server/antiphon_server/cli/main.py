"""The command `antiphon`: it imports the module of the subcommand that was asked for, and nothing else."""

from __future__ import annotations

import difflib
import importlib
import os
import select
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from antiphon_server.exits import MEANING, OLDEST_PYTHON, ExitCode, StartupError, print_error

if TYPE_CHECKING:
    from antiphon_server.config.parser import FlagParser

# As a shell reports a command that SIGPIPE ended: the reader of the output has gone (`antiphon ... | head`).
CLOSED_PIPE = 141
# As a shell reports a command that SIGINT ended.
INTERRUPTED = 130

# One module of this package each, by the same name.
COMMANDS: dict[str, str] = {
    "serve": "serve a model: antiphon serve [MODEL]",
    "compile": "compile the text model for this CPU: antiphon compile [MODEL]",
    "sample": "write a picture, a recording and a clip for the examples: antiphon sample DIR",
    "plan": "show whether a model fits this machine: antiphon plan [MODEL]",
    "doctor": "check this machine, and whether it can load a model: antiphon doctor [MODEL]",
    "config": "show the settings and their sources: antiphon config show --origin",
    "chat": "talk with a model on any server: antiphon chat [MESSAGE]",
    "say": "read a text aloud: antiphon say TEXT -o speech.wav",
    "transcribe": "write recordings down: antiphon transcribe FILE --format srt",
    "bench": "measure latency, underruns and cost of an omni endpoint: antiphon bench URL",
    "tiny": "write a tiny random-weight checkpoint: antiphon tiny PATH",
    "completion": "print a shell completion script: antiphon completion bash|zsh|tcsh",
}


class Command(Protocol):
    """What each module of a subcommand holds."""

    def make_parser(self) -> FlagParser: ...

    def run(self, argv: Sequence[str]) -> int:
        """The exit code. Raises `StartupError` or `SystemExit`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`exits.ExitCode`, `CLOSED_PIPE` or `INTERRUPTED`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        print(end="", flush=True)  # noqa: T201
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        # What is still buffered goes nowhere: the interpreter flushes once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    return code


def _run(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())  # noqa: T201
        return 0
    if arguments[0] in ("-V", "--version"):
        from antiphon_server.version import VERSION

        print(f"antiphon {VERSION}")  # noqa: T201
        return 0
    if arguments[0] not in COMMANDS:
        return _unknown(arguments[0])
    try:
        check_python(sys.version_info[:3])
        return load_command(arguments[0]).run(arguments[1:])
    except StartupError as error:
        return print_error(error)


def _stdout_is_closed() -> bool:
    """Whether standard output is a pipe or socket without a reader."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def load_command(name: str) -> Command:
    """`name`: one of `COMMANDS`."""
    return cast("Command", importlib.import_module(f"{__package__}.{name}"))


def check_python(version: tuple[int, ...]) -> None:
    """Raises `StartupError` if this Python is too old."""
    if version < OLDEST_PYTHON:
        found, needed = ".".join(map(str, version[:3])), ".".join(map(str, OLDEST_PYTHON))
        hint = "make a virtual environment with a newer Python"
        raise StartupError(
            ExitCode.WRONG_PYTHON, f"Python {needed} or later is needed; this is {found}", hint
        )


def help_text() -> str:
    commands = [f"  {name:<11} {summary}" for name, summary in COMMANDS.items()]
    codes = [f"  {code.value:>3}  {meaning}" for code, meaning in MEANING.items()]
    return "\n".join(
        [
            "usage: antiphon COMMAND [--help] ...",
            "",
            "An open inference server for Thinker-Talker omni models.",
            "",
            "commands:",
            *commands,
            "",
            "Settings come from flags, ANTIPHON_* variables, a YAML file (--config), a --tier and",
            "defaults, in this order. API keys come from ANTIPHON_API_KEY or --api-key-file.",
            "",
            "exit codes:",
            *codes,
        ]
    )


def _unknown(command: str) -> int:
    close = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean 'antiphon {close[0]}'?" if close else "'antiphon --help' lists the commands"
    print(f"antiphon: unknown command {command[:64]!r}\n  hint: {hint}", file=sys.stderr)  # noqa: T201
    return ExitCode.USAGE
