"""File descriptors of the process: how many it may open, and how many of them connections may use.

Half of them are kept for everything else: engines, media decoders, encoders, fetches.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from antiphon_server.config.settings import Limits
from antiphon_server.exits import ExitCode, StartupError

# More are not needed, and some programs close every possible descriptor one by one.
_MOST = 65_536
_LEAST = 128
_DEFAULT_CONNECTIONS = 8_192


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Maximum open connections: in total, per address, and additional ones for probes."""

    total: int
    per_address: int
    reserve: int


def raise_limit() -> None:
    """Raises the soft limit of this process and its children to the hard limit, at most 65,536."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(_MOST, _count(hard))
    if _count(soft) < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit() -> int:
    """How many descriptors this process may have open."""
    return min(_MOST, _count(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))


def connection_limits(limits: Limits, descriptors: int) -> ConnectionLimits:
    """The limits from the settings, or from the descriptors; by default half of the total per address.

    Raises StartupError if there are too few descriptors.
    """
    if descriptors < _LEAST:
        raise StartupError(
            ExitCode.BAD_CONFIG,
            f"this process may open {descriptors} files; at least {_LEAST} are needed",
            "raise the limit with 'ulimit -n'",
        )
    share = descriptors // 2
    reserve = min(64, share // 8)
    allowed = share - reserve
    if limits.connections > allowed:
        raise StartupError(
            ExitCode.BAD_CONFIG,
            f"server.limits.connections is {limits.connections}; {descriptors} open files allow {allowed}",
            "lower it, or raise the limit with 'ulimit -n'",
        )
    total = limits.connections or min(_DEFAULT_CONNECTIONS, allowed)
    per_address = limits.connections_per_address or max(1, total // 2)
    return ConnectionLimits(total, min(per_address, total), reserve)


def _count(limit: int) -> int:
    return _MOST if limit == resource.RLIM_INFINITY else limit
