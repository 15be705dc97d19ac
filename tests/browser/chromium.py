"""Headless Chromium without a network but this machine's, driven by DevTools, for tests of pages.

`with chromium() as browser, browser.page() as page: page.open(url)`. Its microphone may be a WAV file.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.sync.client import connect

from tests.browser.devtools import DevTools
from tests.browser.page import Page
from tests.machine import Patience

STARTS_WITHIN_S = 60.0
# Every name but this machine's is unknown: what a page asks of others fails at once.
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0", "--lang=en-US",
)  # fmt: skip
_MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


class Browser:
    """One Chromium process. Pages are strangers: each has its own cookies and storage."""

    def __init__(self, tools: DevTools) -> None:
        self._tools = tools

    @contextmanager
    def page(self) -> Iterator[Page]:
        context = self._tools.send("Target.createBrowserContext")["browserContextId"]
        try:
            made = self._tools.send("Target.createTarget", url="about:blank", browserContextId=context)
            target = {"targetId": made["targetId"], "flatten": True}
            yield Page(self._tools, self._tools.send("Target.attachToTarget", **target)["sessionId"])
        finally:
            self._tools.send("Target.disposeBrowserContext", browserContextId=context)


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium(microphone: Path | None = None, *flags: str) -> Iterator[Browser]:
    """`microphone`: a WAV file that pages hear once, from the moment that they open it; None: none."""
    program = find_chromium()
    if program is None:
        raise FileNotFoundError("chromium is not installed")
    heard = (*_MICROPHONE, f"--use-file-for-fake-audio-capture={microphone}%noloop") if microphone else ()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = Path(folder, "log")
        command = [program, *_FLAGS, *heard, *flags, f"--user-data-dir={folder}/profile", "about:blank"]
        with log.open("wb") as out:
            # Its own group: the processes of its pages end with it. HOME: it writes nothing elsewhere.
            environment = {**os.environ, "HOME": folder}
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=environment,
            )
        try:
            address = _address(process, Path(folder, "profile"), log)
            with connect(address, max_size=None, compression=None) as socket:
                yield Browser(DevTools(socket))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _address(process: subprocess.Popen[bytes], profile: Path, log: Path) -> str:
    """Of its DevTools. Raises AssertionError with its output."""
    patience = Patience(STARTS_WITHIN_S)
    written = profile / "DevToolsActivePort"
    while not (written.is_file() and len(lines := written.read_text().split()) == 2):
        is_waiting = process.poll() is None and not patience.is_over()
        assert is_waiting, log.read_text(errors="replace")[-2_000:]
        time.sleep(0.02)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
