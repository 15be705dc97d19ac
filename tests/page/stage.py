"""What the tests of the page and its pictures share: the server, and a browser that hears and sees files."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_server.cli.sample import write_samples
from tests.browser.chromium import Browser, chromium
from tests.browser.page import Page
from tests.e2e.server_process import Launch, RunningServer, serving, spawned
from tests.server.media.media_samples import ffmpeg

NANO = "antiphon-nano"
RATE_HZ = 16_000
# Of these the second interrupts the answer to the first, which takes eight seconds to speak.
SPOKEN = ("Count from one to twenty.", "What is seven plus five?")
SECOND_AT_S = 7.0
FLAGS = ("--served-model-name", NANO, "--dtype", "auto", "--max-model-len", "8192", "--streams", "4")
FLAGS += ("--engine.deterministic", "--no-server.limits.real-time")
READY = "document.body.dataset.state === 'ready'"


@contextmanager
def nano_server(log: Path, *flags: str, launch: Launch = spawned) -> Iterator[RunningServer]:
    """Deterministic, and started."""
    server = serving(ANTIPHON_NANO, log, *FLAGS, *flags)
    server.launch = launch
    server.start()
    try:
        yield server
    finally:
        server.end()


@contextmanager
def listener(folder: Path) -> Iterator[Browser]:
    """Its microphone hears `SPOKEN`, its camera sees a red circle."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "said.wav").write_bytes(_said())
    camera = f"--use-file-for-fake-video-capture={_film(folder)}"
    with chromium(folder / "said.wav", camera) as browser:
        yield browser


def opened(page: Page, url: str) -> None:
    page.open(url)
    page.wait_for(READY, 30)


def ask(page: Page, text: str, within_s: float = 60) -> str:
    """The text of the answer, when it has been heard."""
    page.click("#message")
    page.write(text)
    page.press("Enter")
    return heard(page, within_s)


def heard(page: Page, within_s: float = 60) -> str:
    """The text of the last answer, when it has been heard or has failed."""
    done = "(turn => turn?.run?.isOver && (turn.run.marks.played !== undefined || turn.run.error))"
    page.wait_for(f"!!{done}(antiphon.conversation.turns.at(-1))", within_s)
    text: str = page.run("antiphon.conversation.turns.at(-1).text")
    return text


def _said() -> bytes:
    first, second = (_voice(text) for text in SPOKEN)
    between = np.zeros(max(int(SECOND_AT_S * RATE_HZ) - len(first), 0), "<i2")
    pause = np.zeros(RATE_HZ // 2, "<i2")
    samples = np.concatenate((pause, first, between, second, np.zeros(20 * RATE_HZ, "<i2")))
    raw = ("-f", "s16le", "-ar", str(RATE_HZ), "-i", "said.pcm")
    return ffmpeg(*raw, suffix="wav", files={"said.pcm": samples.tobytes()})


def _voice(text: str) -> np.ndarray:
    command = ["espeak-ng", "-v", "en-us", "-s", "155", "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    samples = np.frombuffer(wav[44 : len(wav) - len(wav) % 2], "<i2")
    at = np.arange(int(len(samples) * RATE_HZ / 22_050)) * 22_050 / RATE_HZ
    return np.interp(at, np.arange(len(samples)), samples).astype("<i2")


def _film(folder: Path) -> Path:
    write_samples(folder)
    film = folder / "camera.y4m"
    still = ("-loop", "1", "-i", "picture.png", "-t", "1", "-r", "10", "-pix_fmt", "yuv420p")
    film.write_bytes(
        ffmpeg(*still, suffix="y4m", files={"picture.png": (folder / "picture.png").read_bytes()})
    )
    return film
