"""The banner: model, addresses, access, no key, and a command that works when pasted."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antiphon_executor.interface.card import MemoryItem
from antiphon_server.config.settings import ServerSettings
from antiphon_server.process.banner import banner, curl_line
from tests.echo_engine import echo_card

CARD = echo_card(Path("/m"))
KEY = "canary-key-1d"


def shown(server: ServerSettings | None = None, **card: Any) -> str:
    return banner(server or ServerSettings(), replace(CARD, **card), "omni", "1.2.3", 8123)


def test_it_names_version_model_modalities_voices_and_addresses() -> None:
    text = shown(memory=(MemoryItem("Thinker", 3 << 30), MemoryItem("Talker", 512 << 20)))
    for words in (
        "Antiphon 1.2.3",
        "omni (echo)",
        "text, audio, image, video",
        "ethan, chelsie, aiden",
        "Thinker 3.0 GiB, Talker 512 MiB; 3.5 GiB in all",
        "http://127.0.0.1:8123/v1",
        "http://127.0.0.1:8123/docs",
        "http://127.0.0.1:8123/metrics",
    ):
        assert words in text


def test_random_weights_are_stated_and_real_ones_are_not() -> None:
    assert "random weights: speech and text are noise" in shown(random_weights=True)
    assert "random" not in shown(random_weights=False)


def test_a_model_without_speech_is_stated_with_the_reason() -> None:
    assert "none: speech is switched off, so it answers in text" in shown(voice_table=())
    no_talker = shown(voice_table=(), has_talker=False)
    assert "none: this checkpoint has no Talker, so it answers in text" in no_talker


def test_a_model_that_thinks_is_stated() -> None:
    none, optional, always = (
        banner(ServerSettings(), CARD, "omni", "1", 1, switch) for switch in ("none", "optional", "always")
    )
    assert "reasoning" not in none
    assert "enable_thinking" in optional
    assert "every answer begins with it" in always


def test_it_says_what_would_make_text_faster() -> None:
    assert "`antiphon compile`" in shown(could_be_compiled=True)
    assert "antiphon compile" not in shown()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({}, "only this machine"),
        ({"host": "0.0.0.0", "insecure": True}, "every client that reaches this address"),
        ({"host": "0.0.0.0", "api_keys": [KEY]}, "1 API key"),
    ],
)
def test_access_is_described_without_printing_a_key(server: dict[str, Any], words: str) -> None:
    text = shown(ServerSettings.model_validate(server))
    assert words in text
    assert KEY not in text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::", "http://[::1]:8123"),
        ("::1", "http://[::1]:8123"),
        ("omni.example", "http://omni.example:8123"),
    ],
)
def test_clients_can_use_the_printed_address(host: str, url: str) -> None:
    assert f"{url}/v1" in shown(ServerSettings(host=host))


@pytest.mark.parametrize("name", ["omni", "it's", "a b", 'q"q', "$(touch x)"])
def test_the_command_is_quoted_for_the_shell(name: str) -> None:
    words = shlex.split(curl_line(ServerSettings(), CARD, name, "http://127.0.0.1:8123"))
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8123/v1/chat/completions"]
    request = json.loads(words[words.index("-d") + 1])
    assert (request["model"], request["audio"]["voice"]) == (name, "ethan")


def test_without_a_voice_the_command_prints_the_answer() -> None:
    silent = replace(CARD, voice_table=())
    words = shlex.split(curl_line(ServerSettings(), silent, "omni", "http://x"))
    assert "modalities" not in json.loads(words[-1])


def test_the_command_takes_the_key_from_the_environment() -> None:
    server = ServerSettings.model_validate({"api_keys": [KEY]})
    line = curl_line(server, CARD, "omni", "http://x")
    assert '-H "Authorization: Bearer $ANTIPHON_API_KEY"' in line
