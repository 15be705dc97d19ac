"""Client secrets: signed, short-lived keys that open a realtime connection with a given first session.

The server keeps none. Who has one can read the session in it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PREFIX = "ek_"
# The line of a header that carries it has at most 8 KiB.
MAX_SECRET_CHARS = 7_900
_MAC_BYTES = 32
_MAX_JSON_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Grant:
    """`owner`: of the key that made the secret; None if the server has no keys. `session`: its fields."""

    owner: str | None
    expires_at: int
    session: dict[str, Any]


def _unix_s() -> float:
    return time.time()  # noqa: TID251 - `expires_at` is a time of day


class SecretTooLong(Exception):  # not an error of ours: the client's session is too long
    """The session does not fit into a secret."""


class ClientSecrets:
    """`signing_key`: other servers with the same key accept the secrets of this one."""

    def __init__(self, signing_key: bytes, clock: Callable[[], float] = _unix_s) -> None:
        self._key = hashlib.blake2b(signing_key, digest_size=32, person=b"client secrets").digest()
        self.unix_s = clock

    @classmethod
    def from_file(cls, path: Path | None) -> Self:
        """`path`: of the signing key; None: a random one. Raises OSError if it cannot be read."""
        return cls(secrets.token_bytes(32) if path is None else path.read_bytes().strip())

    def make(self, grant: Grant) -> str:
        """Raises SecretTooLong."""
        fields = [grant.owner, grant.expires_at, grant.session]
        data = json.dumps(fields, separators=(",", ":")).encode()
        packed = zlib.compress(data)
        secret = PREFIX + _encode(self._sign(packed) + packed)
        if len(data) > _MAX_JSON_BYTES or len(secret) > MAX_SECRET_CHARS:
            raise SecretTooLong
        return secret

    def read(self, secret: str) -> Grant | None:
        """None if it is not a valid one of this server, or has expired."""
        if not secret.startswith(PREFIX) or len(secret) > MAX_SECRET_CHARS:
            return None
        try:
            data = _decode(secret.removeprefix(PREFIX))
        except ValueError:
            return None
        mac, packed = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._sign(packed)):
            return None
        owner, expires_at, session = json.loads(zlib.decompressobj().decompress(packed, _MAX_JSON_BYTES))
        return Grant(owner, expires_at, session) if self.unix_s() < expires_at else None

    def _sign(self, packed: bytes) -> bytes:
        return hmac.digest(self._key, packed, "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
