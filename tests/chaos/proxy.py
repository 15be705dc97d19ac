"""nginx or haproxy in front of one or two servers, with the configurations that `deploy/proxies` recommends.

In: the servers' ports. Out: the proxy's URL. Response buffering of nginx stays on: the server's own headers
must disable it for streams.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.server_process import becomes

RECOMMENDED = Path(__file__).resolve().parents[2] / "deploy" / "proxies"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
# The servers in the configurations; a line of each is repeated for every port.
_NGINX_SERVER = re.compile(r"^    server 127\.0\.0\.1:\d+ (.*)\n", re.MULTILINE)
_HAPROXY_SERVER = re.compile(r"^  server \w+ 127\.0\.0\.1:\d+ (.*)\n", re.MULTILINE)


@contextmanager
def behind_nginx(folder: Path, ports: list[int], read_timeout_s: float, prefix: str = "") -> Iterator[str]:
    """Yields the proxy's URL. AssertionError with nginx's messages if it does not start.

    `prefix`: of the path, which the proxy strips, as --root-path is for.
    """
    assert NGINX is not None
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    text = (RECOMMENDED / "nginx.conf").read_text()
    rest = _NGINX_SERVER.findall(text)[0]
    text = _with_servers(text, _NGINX_SERVER, [f"    server 127.0.0.1:{each} {rest}\n" for each in ports])
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    text = text.replace("read_timeout 60s", f"read_timeout {max(1, round(read_timeout_s))}s")
    if prefix:
        text = text.replace("location / {", f"location {prefix}/ {{")
        text = text.replace("proxy_pass http://antiphon;", "proxy_pass http://antiphon/;")
    file = folder / "nginx.conf"
    file.write_text(text)
    command = [NGINX, "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")]
    with _running(command, port, folder / "said") as url:
        yield url


@contextmanager
def behind_haproxy(folder: Path, ports: list[int], read_timeout_s: float) -> Iterator[str]:
    """As `behind_nginx`."""
    assert HAPROXY is not None
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    text = (RECOMMENDED / "haproxy.cfg").read_text()
    rest = _HAPROXY_SERVER.findall(text)[0]
    lines = [f"  server s{each} 127.0.0.1:{each} {rest}\n" for each in ports]
    text = _with_servers(text, _HAPROXY_SERVER, lines).replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    text = text.replace("timeout server 60s", f"timeout server {max(1, round(read_timeout_s))}s")
    file = folder / "haproxy.cfg"
    file.write_text(text)
    with _running([HAPROXY, "-db", "-f", str(file)], port, folder / "said") as url:
        yield url


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _with_servers(text: str, pattern: re.Pattern[str], lines: list[str]) -> str:
    first = pattern.search(text)
    assert first is not None
    return pattern.sub("", text[: first.start()] + "@SERVERS@" + text[first.start() :]).replace(
        "@SERVERS@", "".join(lines)
    )


@contextmanager
def _running(command: list[str], port: int, said: Path) -> Iterator[str]:
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        assert becomes(lambda: _listens(port), 10), said.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
