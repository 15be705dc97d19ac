"""A stand-in of the Hugging Face hub: the part of its HTTP API that huggingface_hub uses for a download."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_API = r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/?]+))?(?:\?.*)?"
_PATH = re.compile(_API + r"|/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class StandIn:
    """`models`: folder by name. `got`: the files of which bytes were sent; `asked`: all paths, in order.

    `gated`: names that need a consent. `cut`: file whose first answer ends after half its bytes; `halt`: file
    whose answers stop there. `status`: if set, every answer has it.
    """

    models: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    got: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    cut: str = ""
    halt: str = ""
    status: int = 0
    url: str = ""


@contextmanager
def running_hub(hub: StandIn) -> Iterator[StandIn]:
    class Handler(_Handler):
        stand_in = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Silent."""

    def _answer(self, *, with_body: bool) -> None:
        hub = self.stand_in
        hub.asked.append(self.path)
        found = _PATH.fullmatch(self.path)
        name = (found[1] or found[4]) if found else ""
        revision = (found[3] or found[5] or "main") if found else ""
        if hub.status:
            self._refuse(hub.status, "")
        elif found is None or name not in hub.models:
            self._refuse(404, "RepoNotFound")
        elif name in hub.gated and found[4]:
            self._refuse(403, "GatedRepo")
        elif revision not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif found[2] == "tree":
            self._send_json([self._entry(name, file) for file in self._files(name)])
        elif found[1]:
            files = [{"rfilename": str(file.relative_to(hub.models[name]))} for file in self._files(name)]
            self._send_json({"id": name, "sha": COMMIT, "siblings": files, "tags": [], "private": False})
        else:
            self._send_file(hub.models[name] / found[6], with_body)

    def _files(self, name: str) -> list[Path]:
        return sorted(file for file in self.stand_in.models[name].rglob("*") if file.is_file())

    def _entry(self, name: str, file: Path) -> dict[str, Any]:
        content = file.read_bytes()
        path = str(file.relative_to(self.stand_in.models[name]))
        entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if file.suffix == ".safetensors":
            entry["lfs"] = {
                "oid": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "pointerSize": 134,
            }
        return entry

    def _send_file(self, file: Path, with_body: bool) -> None:
        if not file.is_file():
            self._refuse(404, "EntryNotFound")
            return
        content, hub = file.read_bytes(), self.stand_in
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        kind = hashlib.sha256 if file.suffix == ".safetensors" else hashlib.sha1
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{kind(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not with_body:
            return
        hub.got.append(file.name)
        if hub.cut == file.name:
            hub.cut = ""
            self.wfile.write(content[start : len(content) // 2])
            self.close_connection = True
        elif hub.halt == file.name:
            self.wfile.write(content[start : len(content) // 2])
            self.rfile.read(1)
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
