"""API keys and their classes, as a key file has them: SHA-256 of each key, never the key itself.

A file is one key a line, or YAML with `classes` (limits by name) and `keys` (`key` or `sha256`, and `class`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from antiphon_server.admission.capacity import DEFAULT_CLASS, KeyLimits

_YAML = (".yaml", ".yml")
_KEY_SHAPE = re.compile(r"[\x21-\x7e]{1,512}")
_MOST_CLASSES = 64
SHAPE_RULE = "an API key must be 1 to 512 visible ASCII characters without spaces"


class KeyFileError(ValueError):
    """The file cannot be used. Its message never quotes a key."""


@dataclass(frozen=True, slots=True)
class KeyTable:
    """`classes`: of each key, by its SHA-256 in hexadecimal. `limits`: of classes that have some."""

    classes: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, KeyLimits] = field(default_factory=dict)


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid")

    requests: int | None = Field(None, ge=0)
    tokens_per_minute: int | None = Field(None, ge=0)
    audio_seconds_per_minute: float | None = Field(None, ge=0)


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    key: str | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    name: _Name = Field(DEFAULT_CLASS, alias="class")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    classes: dict[_Name, _Limits] = Field(default_factory=dict, max_length=_MOST_CLASSES)
    keys: list[_Key] = Field(min_length=1)


_NAMES = {*_File.model_fields, *_Limits.model_fields, "key", "sha256", "class"}


def hash_of(key: str) -> str:
    """The SHA-256 of a key. Raises KeyFileError if no key looks like this."""
    if not _KEY_SHAPE.fullmatch(key):
        raise KeyFileError(SHAPE_RULE)
    return hashlib.sha256(key.encode()).hexdigest()


def read_key_file(path: Path) -> KeyTable:
    """Raises KeyFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise KeyFileError(f"the key file {path} cannot be read") from None
    if path.suffix in _YAML:
        return _from_yaml(text, path)
    lines = (line.strip() for line in text.splitlines())
    keys = {hash_of(line): DEFAULT_CLASS for line in lines if line and not line.startswith("#")}
    if not keys:
        raise KeyFileError(f"the key file {path} holds no key: write one key per line")
    return KeyTable(keys)


def _reason(error: ValidationError) -> str:
    """Where and what is wrong. A name that is not ours may be a misplaced key, and is not quoted."""
    first: Any = error.errors(include_input=False, include_url=False, include_context=False)[0]
    parts = [part if isinstance(part, int) or part in _NAMES else "?" for part in first["loc"]]
    return f"{'.'.join(map(str, parts))}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def _from_yaml(text: str, path: Path) -> KeyTable:
    try:
        parsed = _File.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        raise KeyFileError(f"the key file {path}: {_reason(error)}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        # ValueError: a date or a number that is none.
        raise KeyFileError(f"the key file {path} is not valid YAML") from None
    classes: dict[str, str] = {}
    for number, entry in enumerate(parsed.keys):
        if (entry.key is None) == (entry.sha256 is None):
            raise KeyFileError(f"the key file {path}: keys.{number}: give either key or sha256")
        if entry.name not in (DEFAULT_CLASS, *parsed.classes):
            raise KeyFileError(f"the key file {path}: keys.{number}: there is no class {entry.name}")
        classes[entry.sha256 or hash_of(entry.key or "")] = entry.name
    limits = {name: KeyLimits(**found.model_dump()) for name, found in parsed.classes.items()}
    return KeyTable(classes, limits)
