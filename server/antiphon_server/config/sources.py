"""The sources of settings, merged: flags over environment over YAML file over tier over defaults.

Errors never contain a value: it may be a key. Of pydantic-settings only the environment source is used: its
merge does not record which source gave a value, and its YAML source is the same one call of PyYAML.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from antiphon_server.config.long_media import LONG_MEDIA
from antiphon_server.config.settings import Settings
from antiphon_server.config.short_names import SHORT_NAMES
from antiphon_server.config.tier import TIERS, read_tier
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.keys.key_table import KeyFileError, read_key_file

Tree = dict[str, Any]

KEY_VARIABLE = "ANTIPHON_API_KEY"
_CONFIG_VARIABLE = "ANTIPHON_CONFIG"
# A Kubernetes Service named `antiphon` puts ANTIPHON_PORT=tcp://10.0.0.1:8000 into the pods of its namespace.
_KUBERNETES_LINK = ("tcp://", "udp://", "sctp://")
# As pydantic reads a switch.
_ON = {"true", "1", "on", "yes", "y", "t"}


class ConfigError(StartupError):
    """A setting is invalid, or a source cannot be read."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(ExitCode.BAD_CONFIG, message, hint)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """`origins`: the source of each value that is not a default, by dotted name."""

    settings: Settings
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Layer:
    values: Tree
    origin: Mapping[str, str]


class _Environment(EnvSettingsSource):
    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        """A list may be given as JSON or separated by commas."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return [part.strip() for part in str(value).split(",") if part.strip()]


def load(flags: Mapping[str, Any], config_file: Path | None = None) -> LoadedSettings:
    """Merge all sources. `flags`: the command line's values by dotted name. Raises `ConfigError`."""
    config_file = config_file or _path_from_environment()
    layers = [_flag_layer(flags), *_environment_layers(), _file_layer(config_file)]
    merged: Tree = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _add_layer(merged, origins, layer)
    # The sources above name the tier; all may ask for long media.
    _add_layer(merged, origins, _tier_layer(merged.get("tier")))
    _add_layer(merged, origins, _long_media_layer(merged.get("media")))
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise _explain(error, origins) from None
    return LoadedSettings(_with_file_keys(settings), origins)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of a nested mapping, in order."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _flag_layer(flags: Mapping[str, Any]) -> _Layer:
    return _Layer(_nest(flags), dict.fromkeys(flags, "flag"))


def _environment_layers() -> list[_Layer]:
    try:
        values = _Environment(Settings)()
    except SettingsError as error:
        raise ConfigError(f"the environment cannot be read: {error}") from None
    long_names = _Layer(
        values, {name: f"ANTIPHON_{name.upper().replace('.', '__')}" for name, _ in leaves(values)}
    )
    short: Tree = {}
    origin: dict[str, str] = {}
    for flag, entry in SHORT_NAMES.items():
        variable = "ANTIPHON_" + flag.upper().replace("-", "_")
        if os.environ.get(variable) and not os.environ[variable].startswith(_KUBERNETES_LINK):
            short.update({name: _split_list(name, os.environ[variable]) for name in entry.settings})
            origin.update(dict.fromkeys(entry.settings, variable))
    if keys := os.environ.get(KEY_VARIABLE):
        short["server.api_keys"] = [part.strip() for part in keys.split(",") if part.strip()]
        origin["server.api_keys"] = KEY_VARIABLE
    return [long_names, _Layer(_nest(short), origin)]


def _file_layer(path: Path | None) -> _Layer:
    if path is None:
        return _Layer({}, {})
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the configuration file {path} cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ConfigError(f"the configuration file {path} is not valid YAML{where}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(
            f"the configuration file {path} must hold a mapping such as 'server: {{port: 8000}}'"
        )
    return _Layer(values, {name: str(path) for name, _ in leaves(values)})


def _tier_layer(name: object) -> _Layer:
    """Empty for an unknown name, which the settings reject."""
    values = read_tier(name) if isinstance(name, str) and name in TIERS else {}
    return _Layer(values, {leaf: f"tier {name}" for leaf, _ in leaves(values)})


def _long_media_layer(media: object) -> _Layer:
    """Empty unless `media.long` is on. A value that is not a switch is rejected by the settings."""
    is_on = isinstance(media, dict) and str(media.get("long")).lower() in _ON
    return _Layer(_nest(LONG_MEDIA), dict.fromkeys(LONG_MEDIA, "media.long")) if is_on else _Layer({}, {})


def _path_from_environment() -> Path | None:
    path = os.environ.get(_CONFIG_VARIABLE)
    return Path(path) if path else None


def _split_list(name: str, value: str) -> Any:
    is_list = name in ("media.fetch_hosts", "server.allowed_origins")
    return [part.strip() for part in value.split(",") if part.strip()] if is_list else value


def _nest(flat: Mapping[str, Any]) -> Tree:
    tree: Tree = {}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[leaf] = value
    return tree


def _add_layer(tree: Tree, origins: dict[str, str], layer: _Layer) -> None:
    _fill(tree, layer.values)
    for name, origin in layer.origin.items():
        origins.setdefault(name, origin)


def _fill(tree: Tree, lower: Mapping[str, Any]) -> None:
    """Add values of `lower` that `tree` does not have."""
    for key, value in lower.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key, {}), dict):
            _fill(tree.setdefault(key, {}), value)
        else:
            tree.setdefault(key, value)


def _with_file_keys(settings: Settings) -> Settings:
    server = settings.server
    hashes = [key.get_secret_value() for key in server.api_keys]
    if server.api_key_file is not None:
        try:
            hashes += read_key_file(server.api_key_file).classes
        except KeyFileError as error:
            raise ConfigError(str(error)) from None
    secrets = tuple(SecretStr(one) for one in dict.fromkeys(hashes))
    return settings.model_copy(update={"server": server.model_copy(update={"api_keys": secrets})})


def _explain(error: ValidationError, origins: Mapping[str, str]) -> ConfigError:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    parts = [str(part) for part in first["loc"]]
    name = ".".join(parts)
    origin = next((origins[n] for n in (name, name.rsplit(".", 1)[0]) if n in origins), None)
    source = f" (from {origin})" if origin else ""
    if first["type"] == "extra_forbidden":
        return ConfigError(f"there is no setting {name}{source}", _did_you_mean(parts))
    return ConfigError(f"{name}: {first['msg'][:1].lower()}{first['msg'][1:]}{source}")


def _did_you_mean(parts: list[str]) -> str:
    model: Any = Settings
    for part in parts[:-1]:
        model = model.model_fields[part].annotation
    known = list(model.model_fields)
    close = difflib.get_close_matches(parts[-1], known, n=1)
    return (
        f"did you mean {'.'.join([*parts[:-1], close[0]])}?" if close else f"known here: {', '.join(known)}"
    )
