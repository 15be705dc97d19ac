"""The layers that confine a decoder, which of them are required, and advice for an operator who lacks one.

A decoder probes them and reports to the server, which does not start without the required layers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

logger = logging.getLogger("antiphon.media")


class Layer(StrEnum):
    """In the order of messages to operators."""

    LIMITS = "resource limits"
    NO_NEW_PRIVS = "no_new_privs"
    CAPABILITIES = "capabilities dropped"
    SECCOMP = "seccomp"
    LANDLOCK = "landlock"
    NETWORK = "network namespace"
    USER = "unprivileged user"


REQUIRED = (Layer.LIMITS, Layer.NO_NEW_PRIVS, Layer.CAPABILITIES, Layer.SECCOMP)

ADVICE: dict[Layer, str] = {
    Layer.LIMITS: "the kernel must let a process lower its own limits",
    Layer.NO_NEW_PRIVS: "Linux 3.5 or later is needed",
    Layer.CAPABILITIES: "run the server as a user other than root, or let it drop capabilities (CAP_SETPCAP)",
    Layer.SECCOMP: "Linux on x86_64 or aarch64 with CONFIG_SECCOMP_FILTER is needed; "
    "a container's own profile must allow prctl(PR_SET_SECCOMP)",
    Layer.LANDLOCK: "Linux 5.13 or later with lsm=landlock would also close the file system to decoders",
    Layer.NETWORK: "user namespaces would also give decoders a network of their own, with nothing in it",
    Layer.USER: "run the server as a user other than root",
}


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers that a probe found in force, and those that are missing."""

    in_force: tuple[Layer, ...]
    missing: tuple[Layer, ...]

    @classmethod
    def of(cls, found: Mapping[Layer, bool]) -> Layers:
        present = tuple(layer for layer in Layer if found.get(layer))
        return cls(present, tuple(layer for layer in Layer if layer not in present))

    @property
    def missing_required(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.missing if layer in REQUIRED)

    @property
    def missing_optional(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.missing if layer not in REQUIRED)

    def log(self) -> None:
        logger.info("media decoders are confined by: %s", ", ".join(self.in_force))
        for layer in self.missing:
            logger.warning("media decoders are not confined by: %s; %s", layer, ADVICE[layer])

    def encode(self) -> bytes:
        return json.dumps([layer.value for layer in self.in_force]).encode()

    @classmethod
    def decode(cls, message: bytes) -> Layers | None:
        """Reverses `encode`; None if the message is invalid."""
        try:
            return cls.of({Layer(name): True for name in json.loads(message)})
        except (ValueError, TypeError):
            return None
