"""The command `antiphon`: finds out what is asked for and imports only what that needs.

In: the arguments. Out: an exit code, and errors of one line. `--help` imports nothing of weight.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon_server.exits import MEANING, OLDEST_PYTHON, ExitCode, StartupError, report

if TYPE_CHECKING:
    from argparse import Namespace

    from antiphon_server.config.flags import FlagParser
    from antiphon_server.config.sources import Loaded


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`exits.ExitCode`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        _say(_help())
        return 0
    if arguments[0] in ("-V", "--version"):
        from antiphon_server.version import VERSION

        _say(f"antiphon {VERSION}")
        return 0
    command = COMMANDS.get(arguments[0])
    if command is None:
        return _unknown(arguments[0])
    try:
        _check_python(sys.version_info[:3])
        return command[1](arguments[1:])
    except StartupError as error:
        return report(error)


def _serve(argv: Sequence[str]) -> int:
    """Checks, then serves until a signal."""
    parser = _settings_parser("serve", "Serve a model over the OpenAI-compatible API.")
    settings = _load(parser, parser.parse(argv)).settings
    from antiphon_server.process.memory import tune_malloc
    from antiphon_server.process.preflight import before_loading, listen

    tune_malloc()
    before_loading(settings)
    server = settings.server
    with listen(server.host, server.port, server.timeouts.stalled_client_s) as sock:
        from antiphon_server.process.serve import run

        return run(settings, sock)


def _config(argv: Sequence[str]) -> int:
    """`show [--origin] [--json]` and `schema`."""
    from antiphon_server.cli import config as settings_report

    if argv[:1] == ["schema"]:
        _say(settings_report.schema())
        return 0
    parser = _settings_parser("config show", "Show the settings in force; flags as for serve.")
    parser.add_option("--origin", action="store_true", help="say where each value came from")
    parser.add_option("--json", action="store_true", help="as JSON, with origins")
    if argv[:1] != ["show"]:
        parser.error("say 'config show' or 'config schema'")
    given = parser.parse(argv[1:])
    loaded = _load(parser, given)
    if given.json:
        _say(settings_report.as_json(loaded))
    elif given.origin:
        _say(settings_report.as_lines_with_origin(loaded))
    else:
        _say(settings_report.as_lines(loaded))
    return 0


def _tiny(argv: Sequence[str]) -> int:
    """Writes a random-weight checkpoint."""
    from antiphon_server.config.flags import FlagParser

    parser = FlagParser(
        "antiphon tiny", "Write a tiny checkpoint with seeded random weights, for tests.", "PATH"
    )
    parser.add_argument("path", type=Path, help="a new or an empty folder", metavar="PATH")
    families = "qwen3_omni or qwen3_5_omni"
    parser.add_option("--family", default="qwen3_omni", help=f"the model's family: {families} [qwen3_omni]")
    parser.add_option("--seed", type=int, default=0, help="of the weights [0]")
    given = parser.parse(argv)
    if given.path.exists() and (not given.path.is_dir() or any(given.path.iterdir())):
        parser.error(f"{given.path} exists and is not an empty folder")
    from antiphon_executor.tiny import write_tiny_checkpoint

    try:
        write_tiny_checkpoint(given.path, given.family, given.seed)
    except ValueError as error:
        parser.error(str(error))
    _say(f"{given.path}: {given.family}, random weights, seed {given.seed}")
    return 0


def _doctor(argv: Sequence[str]) -> int:
    """1 when something is a problem, else 0."""
    from antiphon_server.cli import doctor
    from antiphon_server.config.flags import FlagParser
    from antiphon_server.config.settings import ServerSettings

    parser = FlagParser("antiphon doctor", "Check this machine, and say what to do where something is wrong.")
    port = ServerSettings().port
    parser.add_option("--port", type=int, default=port, help=f"the port to look at [{port}]")
    parser.add_option("--json", action="store_true", help="as JSON")
    given = parser.parse(argv)
    findings = doctor.examine(given.port)
    _say(doctor.as_json(findings) if given.json else doctor.as_lines(findings))
    return int(any(finding.verdict == "problem" for finding in findings))


def _plan(argv: Sequence[str]) -> int:
    """1 when something is short, else 0."""
    from antiphon_server.cli.plan import add_plan_options, plan

    parser = _settings_parser("plan", "Say what a model takes and whether it fits, before it is loaded.")
    add_plan_options(parser)
    given = parser.parse(argv)
    if given.sizes:
        given.settings.setdefault("engine.model", given.sizes)
    report, code = plan(parser, given, _load(parser, given).settings.engine)
    _say(report)
    return code


def _bench(argv: Sequence[str]) -> int:
    """Measures a server over HTTP, this one or any other."""
    from antiphon_server.bench.cli import read_options

    options = read_options(argv)
    from antiphon_server.bench.run import run

    return run(options)


COMMANDS: dict[str, tuple[str, Callable[[Sequence[str]], int]]] = {
    "serve": ("serve a model: antiphon serve [PATH]", _serve),
    "tiny": ("write a tiny random-weight checkpoint: antiphon tiny PATH", _tiny),
    "config": ("show the settings and where they came from: antiphon config show --origin", _config),
    "plan": ("say whether a model fits: antiphon plan PATH --tier flash --gpu-memory 80GiB", _plan),
    "doctor": ("check this machine", _doctor),
    "bench": ("measure latency, steadiness and cost of any omni endpoint: antiphon bench URL", _bench),
}


def _settings_parser(name: str, description: str) -> FlagParser:
    from antiphon_server.config.flags import FlagParser

    parser = FlagParser(f"antiphon {name}", description, "[MODEL]")
    parser.add_argument("path", nargs="?", help="the model's folder, as --model", metavar="MODEL")
    parser.add_option("--config", type=Path, help="a YAML file of settings (or ANTIPHON_CONFIG)")
    parser.add_settings()
    return parser


def _load(parser: FlagParser, given: Namespace) -> Loaded:
    from antiphon_server.config.sources import load

    if given.path is not None and given.settings.setdefault("engine.model", given.path) != given.path:
        parser.error("the model is given twice, and differently")
    return load(given.settings, given.config)


def _check_python(version: tuple[int, ...]) -> None:
    if version < OLDEST_PYTHON:
        found, needed = ".".join(map(str, version[:3])), ".".join(map(str, OLDEST_PYTHON))
        hint = "make a virtual environment with a newer Python"
        raise StartupError(
            ExitCode.WRONG_PYTHON, f"Python {needed} or later is needed; this is {found}", hint
        )


def _unknown(command: str) -> int:
    close = difflib.get_close_matches(command, COMMANDS, n=1)
    hint = f"did you mean 'antiphon {close[0]}'?" if close else "'antiphon --help' lists the commands"
    print(f"antiphon: unknown command {command[:64]!r}\n  hint: {hint}", file=sys.stderr)  # noqa: T201
    return ExitCode.USAGE


def _help() -> str:
    commands = [f"  {name:<8} {text}" for name, (text, _) in COMMANDS.items()]
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
            "Settings: flags, then ANTIPHON_* variables, then a YAML file (--config), a --tier, defaults.",
            "API keys come from ANTIPHON_API_KEY or --api-key-file.",
            "",
            "exit codes:",
            *codes,
        ]
    )


def _say(text: str) -> None:
    print(text)  # noqa: T201
