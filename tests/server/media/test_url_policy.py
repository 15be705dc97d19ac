"""Which URLs are understood, and which addresses may be connected to."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.media.fetch.url_policy import Target, is_allowed_address, is_allowed_host, parse
from antiphon_server.media.policy import MediaPolicy

POLICY = MediaPolicy()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.org", Target("http", "example.org", 80, "/")),
        ("HTTPS://Example.ORG/A?b=C%20d", Target("https", "example.org", 443, "/A?b=C%20d")),
        ("https://a-b.example.org:8443/x/y.wav", Target("https", "a-b.example.org", 8443, "/x/y.wav")),
        ("http://127.0.0.1:80/", Target("http", "127.0.0.1", 80, "/")),
        ("http://[::1]/", Target("http", "[::1]", 80, "/")),
    ],
)
def test_plain_urls_are_parsed(url: str, target: Target) -> None:
    assert parse(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.org/", "gopher://example.org/", "://example.org",
        "http://user@example.org/", "http://user:word@example.org/", r"http://a\@b/", r"http://a\b/",
        "http://example.org#@evil/", "http://example.org/#x", "http://example.org./", "http://example..org/",
        "http://exam ple.org/", "http://example.org/\r\nX: y",
        "http://example.org/\t", "http://ex\u00e4mple.org/",
        "http://example.org\u3002evil/", "http://example.org:0/",
        "http://example.org:65536/", "http://example.org:/",
        "http://example.org:80:80/", "http://example.org?x", "http://-a.org/", "http:///path", "http://",
        "http://[::1%25eth0]/", "http://[::1]x/",
        "//example.org/", "http:/example.org", "http://%31%32%37.0.0.1/",
        "http://example.org/" + "a" * 5_000,
    ],
)  # fmt: skip
def test_every_other_notation_is_refused(url: str) -> None:
    assert parse(url) is None


@given(st.text(max_size=60))
def test_no_text_upsets_the_parser(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.org/{text}"):
        target = parse(url)
        assert target is None or target.path.isascii()


def test_a_host_is_allowed_by_name_and_port() -> None:
    policy = MediaPolicy(fetch_hosts=("Media.example", "other.example:8080"))
    allowed = {
        "http://media.example/": True, "https://media.example/": True, "http://media.example:8080/": False,
        "http://other.example:8080/": True, "http://other.example/": False, "http://x.media.example/": False,
        "http://media.example.evil/": False, "http://evilmedia.example/": False,
    }  # fmt: skip
    for url, expected in allowed.items():
        target = parse(url)
        assert target is not None
        assert is_allowed_host(target, policy) is expected, url


def test_no_host_is_allowed_by_default() -> None:
    assert not is_allowed_host(Target("https", "example.org", 443, "/"), POLICY)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "168.63.129.16", "::", "::1",
        "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808", "2002:7f00:1::", "2002:808:808::1", "100::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "64:ff9b:1::1", "::7f00:1", "::ffff:0:7f00:1",
        "192.88.99.1", "fe80::1%eth0", "0x7f.1", "2130706433", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not is_allowed_address(address, POLICY)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed_address(address, POLICY)


def test_a_network_that_is_listed_is_allowed_and_no_other() -> None:
    policy = MediaPolicy(fetch_networks=(ip_network("10.1.0.0/16"),))
    assert is_allowed_address("10.1.2.3", policy)
    assert not is_allowed_address("10.2.0.1", policy)
    assert not is_allowed_address("::ffff:10.1.2.3", policy)
