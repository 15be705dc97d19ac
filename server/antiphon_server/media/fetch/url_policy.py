"""Rules for media URLs: a grammar much stricter than the standard's, allowed hosts and allowed addresses.

A URL is parsed here once, into a `Target`, so that two parsers cannot disagree about the host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

from antiphon_server.media.policy import MediaPolicy

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*)?",
    re.ASCII,
)
_LONGEST_URL = 4_096
_DEFAULT_PORTS = {"http": 80, "https": 443}
# `is_global` accepts these in some Python versions: protocol assignments, 6to4 relays, cloud metadata.
_NEVER_IPV4 = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
# Only global unicast IPv6, without the blocks that carry IPv4 (Teredo, 6to4) or are for documentation.
_IPV6 = IPv6Network("2000::/3")
_NEVER_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL. `path` includes the query; a URL with a fragment is refused."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        return self.host if self.port == _DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"


def is_url(location: str) -> bool:
    """Whether the location is a URL of any scheme other than `data:`, valid or not."""
    return "://" in location[:64] and location[:5].lower() != "data:"


def parse(url: str) -> Target | None:
    """The parts of a plain http(s) URL; None if it has a user, a fragment or unusual characters."""
    if len(url) > _LONGEST_URL:
        return None
    start, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    match = _URL.fullmatch(start.lower() + mark + authority.lower() + slash + path)
    if match is None:
        return None
    port = int(match["port"] or _DEFAULT_PORTS[match["scheme"]])
    if port > 65_535:
        return None
    return Target(match["scheme"], match["host"], port, match["path"] or "/")


def is_allowed_host(target: Target, policy: MediaPolicy) -> bool:
    """Whether the policy lists the host (for the scheme's default port) or exactly `host:port`."""
    allowed = {host.lower() for host in policy.fetch_hosts}
    if f"{target.host}:{target.port}" in allowed:
        return True
    return target.host in allowed and target.port == _DEFAULT_PORTS[target.scheme]


def is_allowed_address(text: str, policy: MediaPolicy) -> bool:
    """Whether a resolved address is public or inside `fetch_networks`.

    IPv6 addresses that carry an IPv4 address (mapped, 6to4, Teredo, NAT64) count as not public.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if any(address.version == network.version and address in network for network in policy.fetch_networks):
        return True
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NEVER_IPV4)
    return address in _IPV6 and not any(address in network for network in _NEVER_IPV6)
