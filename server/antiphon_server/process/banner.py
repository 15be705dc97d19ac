"""The banner of a server that is ready: model, memory, addresses, and a curl command that works as printed.

It never contains a key.
"""

from __future__ import annotations

import json
import shlex

from antiphon_executor.interface.card import ModelCard
from antiphon_server.chat.prompt.template import ThinkingSwitch
from antiphon_server.config.addresses import is_loopback
from antiphon_server.config.settings import ServerSettings

_KEY_IN_SHELL = "$ANTIPHON_API_KEY"
# Decoded into a file: base64 audio would fill the terminal.
_INTO_A_FILE = r""" | sed 's/.*"data":"\([^"]*\)".*/\1/' | base64 -d > hello.wav"""
_REASONING: dict[ThinkingSwitch, str] = {
    "none": "",
    "possible": "",
    "optional": "chat_template_kwargs.enable_thinking or reasoning_effort switch it",
    "always": "every answer begins with it, in the field reasoning",
}
_UNCOMPILED = "`antiphon compile`, once with these settings, can double the tokens per second of later starts"
_ONE_PER_STEP = "deterministic: one request per step, a seed gives the same bytes at any load"
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  # as a client on this machine reaches it


def banner(
    server: ServerSettings,
    card: ModelCard,
    name: str,
    version: str,
    port: int,
    thinking: ThinkingSwitch = "none",
) -> str:
    """Several lines. `name`: the model's id for clients. `port`: the one that was bound."""
    url = base_url(server, port)
    rows = [("model", f"{name} ({card.family}), context {card.context_tokens:,} tokens")]
    if card.random_weights:
        rows.append(("weights", "random weights: speech and text are noise"))
    rows += [
        ("input", ", ".join(card.input_modalities)),
        ("voices", ", ".join(_default_first(card)) if card.speaks else no_voices(card)),
        ("reasoning", _REASONING[thinking]),
        ("steps", _ONE_PER_STEP if card.deterministic else ""),
        ("memory", memory_plan(card)),
        ("speed", _UNCOMPILED if card.could_be_compiled else ""),
        ("API", f"{url}/v1"),
        ("docs", f"{url}/docs"),
        ("metrics", f"{url}/metrics"),
        ("access", access_line(server)),
    ]
    lines = [f"  {title:<11}{text}" for title, text in rows if text]
    invitation = "Try it (the speech is saved as hello.wav):" if card.speaks else "Try it:"
    return "\n".join(
        [
            f"Antiphon {version} is ready",
            *lines,
            "",
            f"  {invitation}",
            f"  {curl_line(server, card, name, url)}",
        ]
    )


def no_voices(card: ModelCard) -> str:
    reason = "speech is switched off" if card.has_talker else "this checkpoint has no Talker"
    return f"none: {reason}, so it answers in text"


def base_url(server: ServerSettings, port: int) -> str:
    host = _ANY_ADDRESS.get(server.host, server.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    scheme = "https" if server.tls_certificate_file else "http"
    return f"{scheme}://{host}:{port}"


def memory_plan(card: ModelCard) -> str:
    if not card.memory:
        return ""
    total = sum(item.bytes for item in card.memory)
    return ", ".join(f"{item.name} {_size(item.bytes)}" for item in card.memory) + f"; {_size(total)} in all"


def access_line(server: ServerSettings) -> str:
    if server.api_keys:
        count = len(server.api_keys)
        return f"{count} API key{'s' if count > 1 else ''}: send 'Authorization: Bearer <key>'"
    if is_loopback(server.host):
        return "no API key: only this machine can connect"
    return "no API key and --insecure: every client that reaches this address can use it"


def curl_line(server: ServerSettings, card: ModelCard, name: str, url: str) -> str:
    """One shell command. It takes a key from the environment variable, never from the settings."""
    request: dict[str, object] = {"model": name, "messages": [{"role": "user", "content": "Say hello."}]}
    if card.speaks:
        request |= {"modalities": ["text", "audio"], "audio": {"voice": card.default_voice, "format": "wav"}}
    request["max_tokens"] = 32
    auth = f' -H "Authorization: Bearer {_KEY_IN_SHELL}"' if server.api_keys else ""
    data = shlex.quote(json.dumps(request, ensure_ascii=False))
    command = f"curl -s {url}/v1/chat/completions{auth} -H 'Content-Type: application/json' -d {data}"
    return command + _INTO_A_FILE if card.speaks else command


def _default_first(card: ModelCard) -> list[str]:
    return sorted(card.voices, key=lambda voice: voice != card.default_voice)


def _size(count: int) -> str:
    if count >= 1 << 30:
        return f"{count / (1 << 30):.1f} GiB"
    return f"{count / (1 << 20):.0f} MiB"
