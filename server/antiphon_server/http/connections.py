"""Registry of open connections: their number per address, and which idle one is closed to make room.

At a limit a new connection replaces the oldest idle one of the address with the most. If all are busy, it
enters a reserve that serves probes alone.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from enum import Enum
from typing import Protocol

from antiphon_server.http.descriptors import ConnectionLimits
from antiphon_server.observability.rate_limited_log import RateLimitedLog

# Providers assign a whole network of this size to one customer.
_IPV6_PREFIX_BITS = 64


class ConnectionKind(Enum):
    """`PROBES`: a connection in the reserve, which may request probes only."""

    ORDINARY = "ordinary"
    PROBES = "probes"


class Connection(Protocol):
    """A connection that can be closed to make room."""

    @property
    def is_flushed(self) -> bool:
        """Whether the kernel has accepted all bytes of its last answer."""

    def drop(self) -> None:
        """Closes it at once."""


class Connections:
    """The connections of one server."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._owners: dict[Connection, str] = {}
        self._counts: defaultdict[str, int] = defaultdict(int)
        # Idle connections by address, the oldest first.
        self._idle: dict[str, dict[Connection, None]] = {}
        self._reserve: dict[Connection, None] = {}
        self._shortages = RateLimitedLog("antiphon.http", "connections closed or refused at the limit")

    def add_connection(self, connection: Connection, host: str) -> ConnectionKind:
        """Adds a new, idle connection from `host`."""
        address = _address(host)
        if not self._make_room(address):
            self._shortages.warn("too_many_connections")
            return self._enter_reserve(connection)
        self._owners[connection] = address
        self._counts[address] += 1
        self._idle.setdefault(address, {})[connection] = None
        return ConnectionKind.ORDINARY

    def remove_connection(self, connection: Connection) -> None:
        """Removes a closed connection. May be called more than once."""
        self.mark_busy(connection)
        self._reserve.pop(connection, None)
        address = self._owners.pop(connection, None)
        if address is None:
            return
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address], self._idle[address]

    def mark_busy(self, connection: Connection) -> None:
        """It has a request to answer, so it is not closed to make room."""
        address = self._owners.get(connection)
        if address is not None:
            self._idle[address].pop(connection, None)

    def mark_idle(self, connection: Connection) -> None:
        """It waits for a request, so it may be closed to make room."""
        address = self._owners.get(connection)
        if address is not None:
            self._idle[address][connection] = None

    def _make_room(self, address: str) -> bool:
        if self._counts.get(address, 0) >= self._limits.per_address:
            return self._drop_oldest(address)
        if len(self._owners) >= self._limits.total:
            with_idle = [each for each, idle in self._idle.items() if idle]
            return self._drop_oldest(max(with_idle, key=self._counts.__getitem__, default=address))
        return True

    def _drop_oldest(self, address: str) -> bool:
        oldest = next((one for one in self._idle.get(address, ()) if one.is_flushed), None)
        if oldest is None:
            return False
        self._shortages.warn("idle_connection_closed")
        self._drop(oldest)
        return True

    def _enter_reserve(self, connection: Connection) -> ConnectionKind:
        # Probes are answered at once. A connection that is still here sent no probe, or does not read.
        if len(self._reserve) >= self._limits.reserve:
            self._drop(next(iter(self._reserve)))
        self._reserve[connection] = None
        return ConnectionKind.PROBES

    def _drop(self, connection: Connection) -> None:
        self.remove_connection(connection)
        connection.drop()


def _address(host: str) -> str:
    """The address that connections are counted by: for IPv6 its network."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX_BITS), strict=False).network_address)
