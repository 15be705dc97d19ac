"""A command-line flag for every setting: its dotted name, and a short name if it has one.

API keys have no flag: every user of a machine can read its command lines. pydantic-settings' CLI source would
give them one; nor can its flags set two fields (`--dtype`) or take a list's values as separate words.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from antiphon_server.config.parser import FlagParser, Switch, is_on
from antiphon_server.config.settings import Settings
from antiphon_server.config.short_names import SHORT_NAMES, ShortName


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting. `name`: dotted."""

    name: str
    field: FieldInfo

    @property
    def is_switch(self) -> bool:
        return self.field.annotation is bool

    @property
    def is_list(self) -> bool:
        return str(self.field.annotation).startswith("tuple[")

    @property
    def is_secret(self) -> bool:
        return "SecretStr" in str(self.field.annotation)

    @property
    def placeholder(self) -> str:
        """What stands for the value in the help: its name, or the words to choose from."""
        for kind in (self.field.annotation, *get_args(self.field.annotation)):
            if get_origin(kind) is Literal:
                return f"{{{','.join(get_args(kind))}}}"
        return self.name.rsplit(".", 1)[-1].upper()

    @property
    def help(self) -> str:
        return self.with_default(self.field.description or "")

    def with_default(self, text: str) -> str:
        """`text` and the default in brackets, if there is one to show. Percent signs are escaped."""
        field = self.field
        has_default = field.default_factory is None and not field.is_required()
        is_empty = field.default is False or field.default in (None, (), "")
        default = "on" if field.default is True else field.default
        shown = has_default and not is_empty and not text.endswith("]")
        return (f"{text} [{default}]" if shown else text).strip().replace("%", "%%")


def setting_fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[SettingField]:
    """Every setting of the tree, in order."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from setting_fields(kind, f"{prefix}{name}.")
        else:
            yield SettingField(prefix + name, field)


def setting_groups(
    parser: FlagParser, topics: Collection[str] = ("model", "address and access", "engine", "process")
) -> dict[str, argparse._ArgumentGroup]:
    """The sections of `--help`, for `add_settings` and for arguments that are no settings."""
    return {topic: parser.add_argument_group(topic) for topic in topics}


def add_settings(parser: FlagParser, groups: Mapping[str, argparse._ArgumentGroup] | None = None) -> None:
    """Add flags for every setting; the result's `settings` maps dotted names to values.

    `--help` shows the short names of `groups` with brief texts, `--help-all` all flags with full texts.
    """
    groups = setting_groups(parser) if groups is None else groups
    parser.set_defaults(settings={})
    by_name = {field.name: field for field in setting_fields()}
    full_help: dict[argparse.Action, str] = {}
    rest = {name: parser.add_argument_group(f"all of {name}") for name in Settings.model_fields}
    for short, entry in SHORT_NAMES.items():
        field = by_name[entry.settings[0]]
        group = groups.get(entry.topic, rest[field.name.split(".", maxsplit=1)[0]])
        action = _add_flag(group, field, [f"--{short}"], entry)
        full_help[action] = field.help
        if entry.brief and entry.topic in groups:
            action.help = field.with_default(entry.brief)
    for field in by_name.values():
        if not field.is_secret and field.name not in SHORT_NAMES:
            group = rest[field.name.split(".", maxsplit=1)[0]]
            full_help[_add_flag(group, field, _long_flags(field))] = field.help
    parser.add_argument(
        "--help-all", action=_HelpAll, nargs=0, const=full_help, help="show every setting and exit"
    )


def show_all(parser: argparse.ArgumentParser) -> None:
    """Give every flag its full help, as `--help-all` does."""
    for action in parser._actions:
        if isinstance(action, _HelpAll):
            for hidden, text in action.const.items():
                hidden.help = text


def _add_flag(
    group: Any, field: SettingField, flags: list[str], short: ShortName | None = None
) -> argparse.Action:
    """A flag that `--help` does not list."""
    names = short.settings if short else (field.name,)
    options: dict[str, Any] = {"dest": "settings", "default": argparse.SUPPRESS, "const": names}
    options["help"] = argparse.SUPPRESS
    if field.is_switch:
        return cast("argparse.Action", group.add_argument(*flags, action=_SettingSwitch, **options))
    options["nargs"] = "+" if field.is_list else None
    options["metavar"] = (short.placeholder if short else "") or field.placeholder
    return cast("argparse.Action", group.add_argument(*flags, action=_SettingValue, **options))


def _long_flags(field: SettingField) -> list[str]:
    dotted = f"--{field.name.replace('_', '-')}"
    section, _, rest = field.name.partition(".")
    # Error messages name the media limits by this shorter flag.
    return [f"--media-{rest.replace('_', '-')}", dotted] if section == "media" else [dotted]


class _SettingValue(argparse.Action):
    """Stores one value, or a list, under each name of `const`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if isinstance(values, list):
            values = [part for word in values for part in word.split(",") if part]
        namespace.settings.update(dict.fromkeys(self.const, values))


class _SettingSwitch(Switch):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.settings.update(dict.fromkeys(self.const, is_on(option_string)))


class _HelpAll(argparse.Action):
    """`const`: the full help text of each action that `--help` hides or shortens."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        show_all(parser)
        parser.print_help()
        parser.exit()
