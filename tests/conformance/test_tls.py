"""The API over TLS: https and wss, refusals before a request is read, and settings that do not fit."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from antiphon_server.config.settings import ServerSettings
from antiphon_server.exits import StartupError
from antiphon_server.process.banner import base_url
from antiphon_server.process.preflight import check_tls
from tests.conformance.conftest import CERTIFICATE, KEY


@pytest.fixture(scope="module")
def trust() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def test_the_api_answers_over_https(tls_port: int, trust: ssl.SSLContext) -> None:
    with httpx.Client(base_url=f"https://127.0.0.1:{tls_port}", verify=trust) as client:
        messages = [{"role": "user", "content": "hello"}]
        answer = client.post("/v1/chat/completions", json={"messages": messages})
        assert answer.json()["choices"][0]["message"]["content"] == "hello"
        body = {"messages": messages, "stream": True, "modalities": ["text", "audio"]}
        assert client.post("/v1/chat/completions", json=body).text.endswith("data: [DONE]\n\n")


def test_realtime_answers_over_wss(tls_port: int, trust: ssl.SSLContext) -> None:
    with connect(f"wss://127.0.0.1:{tls_port}/v1/realtime?model=echo", ssl=trust) as socket_:
        assert json.loads(socket_.recv(10))["type"] == "session.created"


def test_what_is_no_http_is_refused_over_tls_too(tls_port: int, trust: ssl.SSLContext) -> None:
    with (
        socket.create_connection(("127.0.0.1", tls_port), timeout=10) as raw,
        trust.wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"no http\r\n\r\n")
        assert secure.recv(4096).startswith(b"HTTP/1.1 400")


def test_a_client_without_tls_gets_no_answer(tls_port: int) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{tls_port}/livez", timeout=10)


def test_the_banner_names_the_scheme() -> None:
    assert (
        base_url(ServerSettings(tls_certificate_file=CERTIFICATE, tls_key_file=KEY), 1)
        == "https://127.0.0.1:1"
    )


@pytest.mark.parametrize(
    ("certificate", "key"),
    [(CERTIFICATE, None), (None, KEY), (CERTIFICATE, CERTIFICATE), (CERTIFICATE, KEY / "none.pem")],
)
def test_a_pair_that_cannot_be_used_is_refused(certificate: Path | None, key: Path | None) -> None:
    with pytest.raises(StartupError):
        check_tls(ServerSettings(tls_certificate_file=certificate, tls_key_file=key))


def test_a_pair_that_fits_is_accepted() -> None:
    check_tls(ServerSettings(tls_certificate_file=CERTIFICATE, tls_key_file=KEY))
    check_tls(ServerSettings())
