"""A minimal OpenAI-compatible server of another kind: no extension of ours, none of our error fields.

`seen` has what it was sent. It wants the key `KEY` if `needs_key` is set.
"""

from __future__ import annotations

import base64
import json
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "sk-foreign"
MODEL = "tiny-model"
PCM = struct.pack("<2400h", *range(2400))
WAV = (
    b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 24_000, 48_000, 2, 16)
    + b"data\xff\xff\xff\xff" + PCM
)  # fmt: skip
SRT = "1\n00:00:00,000 --> 00:00:01,000\nhello there\n"


@dataclass
class Foreign:
    """`models`: as listed. `breaks_off`: streams end without their end. `says`: the begin of its answers.

    `speech`: headers and bytes that it sends in place of speech.
    """

    url: str = ""
    models: list[str] = field(default_factory=lambda: [MODEL])
    needs_key: bool = False
    breaks_off: bool = False
    says: str = "answer"
    speech: tuple[dict[str, str], bytes] | None = None
    seen: list[tuple[str, Any]] = field(default_factory=list)


class Routes(BaseHTTPRequestHandler):
    state: Foreign

    def do_GET(self) -> None:
        if self._is_allowed():
            self._json(200, {"object": "list", "data": [{"id": name} for name in self.state.models]})

    def do_POST(self) -> None:
        body = self._body()
        if not self._is_allowed():
            return
        self.state.seen.append((self.path, body))
        routes: dict[str, Callable[[Any], None]] = {
            "/v1/chat/completions": self._chat,
            "/v1/audio/speech": self._speech,
            "/v1/audio/transcriptions": self._transcript,
        }
        routes[self.path](body)

    def _chat(self, body: dict[str, Any]) -> None:
        if body["messages"][-1]["content"] == "bad":
            self._json(400, {"error": {"message": "that is bad", "type": "invalid_request_error"}})
            return
        self._head("text/event-stream")
        said = f"{self.state.says} {len(body['messages'])}"
        if "audio" in body.get("modalities", []):
            self._event({"audio": {"id": "a", "transcript": said}})
            self._event({"audio": {"data": base64.b64encode(PCM).decode()}})
        else:
            self._event({"role": "assistant", "content": said[:3]})
            self._event({"content": said[3:]})
        if not self.state.breaks_off:
            self._event({}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, delta: dict[str, Any], reason: str | None = None) -> None:
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def _speech(self, body: dict[str, Any]) -> None:
        if self.state.speech is not None:
            headers, data = self.state.speech
            self._head(**headers)
            self.wfile.write(data)
            return
        self._head("application/octet-stream")
        self.wfile.write({"wav": WAV, "pcm": PCM}.get(body["response_format"], b"encoded"))

    def _transcript(self, body: bytes) -> None:
        if b"unreadable" in body:
            self._json(400, {"detail": "this is no recording"})
            return
        self._head("text/plain")
        self.wfile.write(SRT.encode() if b"\r\n\r\nsrt\r\n" in body else b"hello there")

    def _is_allowed(self) -> bool:
        allowed = not self.state.needs_key or self.headers.get("authorization") == f"Bearer {KEY}"
        if not allowed:
            self._json(401, {"error": {"message": "wrong key"}})
        return allowed

    def _body(self) -> Any:
        if self.headers.get("transfer-encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["content-length"]))
        return json.loads(data) if self.headers["content-type"] == "application/json" else data

    def _json(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _head(self, media_type: str, encoding: str = "identity") -> None:
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.send_header("content-encoding", encoding)
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        """Nothing to standard error."""


@contextmanager
def foreign_server(certificate: Path | None = None, key: Path | None = None) -> Iterator[Foreign]:
    """Over TLS, if it has a certificate."""
    state = Foreign()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Routes", (Routes,), {"state": state}))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    state.url = f"{scheme}://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
