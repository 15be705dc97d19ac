"""The flags that `serve`, `plan` and `config show` share: MODEL, --config and every setting."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from antiphon_server.config.flags import add_settings, setting_groups
from antiphon_server.config.parser import FlagParser
from antiphon_server.config.sources import LoadedSettings, load


def settings_parser(
    name: str,
    description: str,
    topics: tuple[str, ...] = ("model", "address and access", "engine", "process"),
) -> FlagParser:
    """`topics`: the sections of common settings that `--help` shows."""
    parser = FlagParser(f"antiphon {name}", description, "[MODEL]")
    groups = setting_groups(parser, topics)
    groups["model"].add_argument(
        "path", nargs="?", help="folder, or name on the hub [antiphon-nano]", metavar="MODEL"
    )
    groups["model"].add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings")
    add_settings(parser, groups)
    return parser


def load_settings(parser: FlagParser, given: Namespace) -> LoadedSettings:
    """Merge the flags with the other sources. Raises `ConfigError`."""
    if given.path is not None and given.settings.setdefault("engine.model", given.path) != given.path:
        parser.error("the model is given twice, with different values")
    return load(given.settings, given.config)
