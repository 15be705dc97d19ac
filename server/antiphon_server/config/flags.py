"""Command-line flags for every setting: short names where there is one, the dotted name for all.

In: the settings tree's types. Out: an argument parser whose result is `dotted name -> value`.
Keys have no flag: a command line is visible to every user of the machine.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from antiphon_server.config.settings import Settings
from antiphon_server.config.sources import SHORT_NAMES
from antiphon_server.exits import ExitCode


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting."""

    name: str
    field: FieldInfo

    @property
    def is_switch(self) -> bool:
        return self.field.annotation is bool

    @property
    def is_list(self) -> bool:
        return str(self.field.annotation).startswith("tuple[")

    @property
    def placeholder(self) -> str:
        """What stands for the value in the help: its name, or the words to choose from."""
        if get_origin(self.field.annotation) is Literal:
            return f"{{{','.join(get_args(self.field.annotation))}}}"
        return self.name.rsplit(".", 1)[-1].upper()

    @property
    def is_secret(self) -> bool:
        return self.field.annotation is SecretStr or SecretStr in get_args(self.field.annotation)


def setting_fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Leaf]:
    """Every setting of the tree, in order."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from setting_fields(kind, f"{prefix}{name}.")
        else:
            yield Leaf(prefix + name, field)


class FlagParser(argparse.ArgumentParser):
    """Says in one line what is wrong, and which flag was probably meant."""

    def __init__(self, prog: str, description: str, operand: str = "") -> None:
        usage = " ".join(filter(None, (prog, operand, "[FLAGS]")))
        super().__init__(prog=prog, usage=usage, description=description, allow_abbrev=False)
        self._names: list[str] = ["--help"]

    def add_settings(self) -> None:
        """A flag, or two, for every setting; the result's `settings` maps dotted names to values."""
        self.set_defaults(settings={})
        by_name = {leaf.name: leaf for leaf in setting_fields()}
        common = self.add_argument_group("common settings")
        for short, names in SHORT_NAMES.items():
            self._add(common, by_name[names[0]], [f"--{short}"], names)
        groups = {name: self.add_argument_group(f"all of {name}") for name in Settings.model_fields}
        for leaf in by_name.values():
            if not leaf.is_secret and leaf.name not in SHORT_NAMES:
                self._add(groups[leaf.name.split(".")[0]], leaf, _long_flags(leaf), (leaf.name,))

    def add_option(self, flag: str, **options: Any) -> None:
        self._names.append(flag)
        self.add_argument(flag, **options)

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        given, unknown = self.parse_known_args(argv)
        for word in unknown:
            flag = word.split("=")[0]
            close = difflib.get_close_matches(flag, self._names, n=1) if flag.startswith("-") else []
            self.error(f"unknown argument {flag!r}" + (f"; did you mean {close[0]}?" if close else ""))
        return given

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}\n  hint: '{self.prog} --help' lists the flags", file=sys.stderr)  # noqa: T201
        raise SystemExit(ExitCode.USAGE)

    def _add(self, group: Any, leaf: Leaf, flags: list[str], names: tuple[str, ...]) -> None:
        self._names += flags
        options: dict[str, Any] = {"dest": "settings", "default": argparse.SUPPRESS, "const": names}
        options["help"] = _help(leaf)
        if leaf.is_switch:
            group.add_argument(*flags, action=_Switch, nargs=0, **options)
            self._names += [f"--no-{flag[2:]}" for flag in flags]
        else:
            nargs = "+" if leaf.is_list else None
            group.add_argument(*flags, action=_Set, nargs=nargs, metavar=leaf.placeholder, **options)


class _Set(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if isinstance(values, list):
            values = [part for word in values for part in word.split(",") if part]
        namespace.settings.update(dict.fromkeys(self.const, values))


class _Switch(argparse.Action):
    """`--x` and `--no-x`."""

    def __init__(self, option_strings: Sequence[str], **options: Any) -> None:
        both = [name for flag in option_strings for name in (flag, f"--no-{flag[2:]}")]
        super().__init__(both, **options)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        on = not (option_string or "").startswith("--no-")
        namespace.settings.update(dict.fromkeys(self.const, on))


def _long_flags(leaf: Leaf) -> list[str]:
    dotted = f"--{leaf.name.replace('_', '-')}"
    section, _, rest = leaf.name.partition(".")
    # The media limits are named in error messages by this shorter flag.
    return [f"--media-{rest.replace('_', '-')}", dotted] if section == "media" else [dotted]


def _help(leaf: Leaf) -> str:
    field = leaf.field
    told = field.default_factory is None and not field.is_required() and field.default not in (None, (), "")
    default = f"[{field.default}]" if told else ""
    return f"{field.description or ''} {default}".strip().replace("%", "%%")
