"""All forms of a URL give the same address, and a key is sent only to its own service."""

from __future__ import annotations

import pytest

from antiphon_server.bench.target import base_url, key_variable, without_secrets


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://x.aliyuncs.com/compatible-mode/v1", "https://x.aliyuncs.com/compatible-mode/v1"),
        ("http://h/v1/chat/completions", "http://h/v1"),
        ("http://h/proxy", "http://h/proxy/v1"),
        ("h:8000", None),
        ("ftp://h", None),
        ("", None),
    ],
)
def test_the_address_of_the_api(given: str, base: str | None) -> None:
    assert base_url(given) == base


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
        ("http://127.0.0.1:8000/v1", "ANTIPHON_API_KEY"),
        ("https://notopenai.com/v1", "ANTIPHON_API_KEY"),
        ("https://openai.com.evil.example/v1", "ANTIPHON_API_KEY"),
    ],
)
def test_no_server_gets_the_key_of_another(url: str, name: str) -> None:
    assert key_variable(url) == name


def test_a_password_in_a_url_is_not_shown() -> None:
    assert without_secrets("https://me:canary@host/v1") == "https://***@host/v1"
    assert without_secrets("--json") == "--json"
