"""`antiphon config`: the settings in force, where each came from, and their schema. Keys are only counted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from antiphon_server.cli.settings_flags import load_settings, settings_parser
from antiphon_server.config.flags import setting_fields, show_all
from antiphon_server.config.parser import FlagParser
from antiphon_server.config.settings import Settings
from antiphon_server.config.sources import LoadedSettings


def make_parser() -> FlagParser:
    parser = FlagParser("antiphon config", "Show the settings, or their JSON schema.", "show|schema")
    words = parser.add_subparsers(required=True, metavar="show|schema", parser_class=argparse.ArgumentParser)
    show = _show_parser()
    show_all(show)
    words.add_parser("show", help="the settings in force; flags as for serve", parents=[show], add_help=False)
    words.add_parser("schema", help="the JSON schema of the configuration file")
    return parser


def run(argv: Sequence[str]) -> int:
    if argv[:1] == ["schema"]:
        print(schema())  # noqa: T201
        return 0
    if argv[:1] != ["show"]:
        make_parser().parse(argv)
    parser = _show_parser()
    given = parser.parse(argv[1:])
    loaded = load_settings(parser, given)
    format_settings = as_json if given.json else as_lines_with_origin if given.origin else as_lines
    print(format_settings(loaded))  # noqa: T201
    return 0


def as_lines(loaded: LoadedSettings) -> str:
    return "\n".join(f"{name} = {_plain(value)}" for name, value, _ in _rows(loaded))


def as_lines_with_origin(loaded: LoadedSettings) -> str:
    pairs = [(f"{name} = {_plain(value)}", origin) for name, value, origin in _rows(loaded)]
    width = min(max(len(text) for text, _ in pairs), 70)
    return "\n".join(f"{text:<{width}}  # {origin}" for text, origin in pairs)


def as_json(loaded: LoadedSettings) -> str:
    settings = [{"name": name, "value": value, "origin": origin} for name, value, origin in _rows(loaded)]
    return json.dumps({"settings": settings}, indent=2, default=str)


def schema() -> str:
    """The JSON schema of the configuration file."""
    return json.dumps(Settings.model_json_schema(), indent=2)


def _show_parser() -> FlagParser:
    parser = settings_parser("config show", "Show the settings in force; flags as for serve.")
    parser.add_argument("--origin", action="store_true", help="show where each value came from")
    parser.add_argument("--json", action="store_true", help="print JSON, with origins")
    return parser


def _rows(loaded: LoadedSettings) -> Iterator[tuple[str, Any, str]]:
    """Name, value and origin of every setting."""
    for field in setting_fields():
        value: Any = loaded.settings
        for part in field.name.split("."):
            value = getattr(value, part)
        if field.is_secret:
            value = f"{len(value)} hidden"
        yield field.name, value, loaded.origins.get(field.name, "default")


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None else str(value)
