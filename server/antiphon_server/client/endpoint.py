"""The server that a command talks to: its URL, key and model, from flags and OpenAI's variables."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from antiphon_server.bench.target import base_url, key_variable, without_secrets
from antiphon_server.config.parser import FlagParser

DEFAULT_URL = "http://127.0.0.1:8000/v1"
_ANY_HOST = "ANTIPHON_API_KEY"
_URL, _KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_DEFAULT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`url`: above `/models`. `model`: None if the server's list decides. `timeout_s`: without any data."""

    url: str
    api_key: str | None = None
    model: str | None = None
    timeout_s: float = _DEFAULT_TIMEOUT_S


def add_endpoint_flags(parser: FlagParser) -> None:
    add = parser.add_argument_group("server").add_argument
    add("--url", metavar="URL", help=f"base URL of the server [{_URL}, else {DEFAULT_URL}]")
    add("--model", metavar="NAME", help="model to request [the one that the server lists]")
    add("--api-key", metavar="KEY", help=f"visible in the process list; prefer {_KEY} or a file")
    add("--api-key-file", type=Path, metavar="FILE", help="file whose first word is the key")
    add("--timeout", type=float, default=_DEFAULT_TIMEOUT_S, metavar="S", help="longest silence [600]")


def read_endpoint(parser: FlagParser, given: argparse.Namespace) -> Endpoint:
    """Ends the process with a usage error if the flags are invalid."""
    asked = given.url or os.environ.get(_URL) or DEFAULT_URL
    url = base_url(asked)
    if url is None:
        parser.error(f"{without_secrets(asked)!r} is not an http or https URL")
    if given.timeout <= 0:
        parser.error("--timeout is a number of seconds above 0")
    key = _key(parser, given, url)
    if key is not None and not (key.isascii() and key.isprintable()):
        # An HTTP client would show it in its error.
        parser.error("the API key has characters that no key has, such as the end of a line")
    return Endpoint(url, key, given.model, given.timeout)


def _key(parser: FlagParser, given: argparse.Namespace, url: str) -> str | None:
    """A host that is known to have its own variable never gets the key of another service."""
    if given.api_key and given.api_key_file:
        parser.error("--api-key and --api-key-file exclude each other: choose one")
    if given.api_key_file is not None:
        try:
            words = given.api_key_file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError):
            parser.error(f"{given.api_key_file} cannot be read")
        return words[0] if words else parser.error(f"{given.api_key_file} contains no key")
    name = key_variable(url)
    names = (name, _KEY) if name == _ANY_HOST else (name,)
    found = (given.api_key, *(os.environ.get(one) for one in names))
    return next(filter(None, (key.strip() for key in found if key)), None)
