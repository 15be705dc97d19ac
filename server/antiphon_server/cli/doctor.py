"""`antiphon doctor`: check whether this machine can serve, and print a fix for every problem."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon_server.config.parser import FlagParser


def make_parser() -> FlagParser:
    parser = FlagParser("antiphon doctor", "Check this machine and print a fix for every problem.", "[MODEL]")
    parser.add_argument(
        "model", nargs="?", help="also check this folder, or name on the hub", metavar="MODEL"
    )
    parser.add_argument("--revision", help="branch, tag or commit of a model on the hub", metavar="NAME")
    parser.add_argument("--port", type=int, help="port to check [the default of serve]", metavar="PORT")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(argv: Sequence[str]) -> int:
    """1 if there is a problem, else 0; warnings do not count."""
    given = make_parser().parse(argv)
    from antiphon_server.cli.machine_checks.checks import as_json, as_lines, check_machine
    from antiphon_server.config.settings import ServerSettings

    findings = check_machine(ServerSettings().port if given.port is None else given.port)
    if given.model is not None:
        from antiphon_server.cli.machine_checks.model_check import find_model

        findings.append(find_model(given.model, given.revision))
    print(as_json(findings) if given.json else as_lines(findings))  # noqa: T201
    return int(any(finding.verdict == "problem" for finding in findings))
