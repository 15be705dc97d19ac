"""nginx in front of one or two servers, with the settings that the documentation recommends.

In: their ports. Out: the proxy's URL. nginx's defaults stay, buffering included: the server's own headers
must disable buffering of streams.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.server_process import becomes

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
# A draining server answers 503 before any work, so the next server may get the request, a POST too.
CONFIG = """\
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 96m;
  map $http_upgrade $kept_open {{ default upgrade; "" ""; }}
  upstream antiphon {{
{servers}
  }}
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{
      proxy_pass http://antiphon{stripped};
      proxy_http_version 1.1;
      proxy_set_header Connection $kept_open;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host localhost;
      proxy_read_timeout {read_timeout_s}s;
      proxy_next_upstream error timeout http_503 non_idempotent;
    }}
  }}
}}
"""


@contextmanager
def behind_nginx(folder: Path, ports: list[int], read_timeout_s: float, prefix: str = "") -> Iterator[str]:
    """Yields the proxy's URL. `prefix`: of paths, which it strips.

    AssertionError with nginx's messages if it does not start.
    """
    assert NGINX is not None
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    servers = "\n".join(f"    server 127.0.0.1:{each} max_fails=0;" for each in ports)
    timeout_s = max(1, round(read_timeout_s))
    place = {"folder": folder, "port": port, "prefix": prefix, "stripped": "/" if prefix else ""}
    text = CONFIG.format(servers=servers, read_timeout_s=timeout_s, **place)
    (folder / "nginx.conf").write_text(text)
    said = folder / "said"
    with said.open("wb") as out:
        command = [
            NGINX,
            "-p",
            str(folder),
            "-c",
            str(folder / "nginx.conf"),
            "-e",
            str(folder / "error.log"),
        ]
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
