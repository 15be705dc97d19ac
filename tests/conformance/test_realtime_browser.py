"""A page in Chromium that talks with its microphone: with a client secret, from another origin."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.browser.chromium import Browser, chromium, find_chromium
from tests.browser.fixtures import browser  # noqa: F401
from tests.conformance.conftest import Served, serving
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import make_service
from tests.tiny_checkpoint import write_tiny_checkpoint

KEY = "a-key-that-no-page-sees"
PAGES = Path(__file__).parent / "clients" / "browser"
ANSWERED_WITHIN_S = 40


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """The origin of the page."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(PAGES))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def locked(pages: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a key, which pages of that origin may use."""
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("browser"))
    engine = EchoEngine(folder)
    engine.script = Script(answer="good morning")
    access = {"api_keys": (SecretStr(KEY),), "allowed_origins": (pages,)}
    service = make_service(folder, engine, server=access)
    with serving(service) as port:
        yield Served(f"http://127.0.0.1:{port}", engine, service)


def recording(folder: Path) -> Path:
    """Two words of a user, behind a second of silence and before three."""
    spoken = subprocess.run(["espeak-ng", "--stdout", "Hello there"], check=True, capture_output=True)
    file = folder / "microphone.wav"
    form = ("-af", "adelay=1000,apad=pad_dur=3", "-ar", "48000", "-y", str(file))
    subprocess.run(["ffmpeg", "-v", "error", "-i", "-", *form], input=spoken.stdout, check=True)
    return file


def secret_of(served: Served) -> str:
    """What the page's own server asks for, with the key."""
    session = {"type": "realtime", "instructions": "Be brief."}
    answer = httpx.post(
        f"{served.url}/v1/realtime/client_secrets",
        json={"session": session},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    return str(answer.raise_for_status().json()["value"])


def test_a_spoken_turn_is_heard_and_its_answer_sounds(locked: Served, pages: str, tmp_path: Path) -> None:
    if find_chromium() is None:
        pytest.skip("chromium is not installed")
    url = locked.url.replace("http", "ws", 1) + "/v1/realtime?model=echo"
    with chromium(recording(tmp_path)) as listening, listening.page() as page:
        page.open(f"{pages}/talk.html")
        page.run(f"talk('{url}', '{secret_of(locked)}')")
        page.wait_for("state.kinds.includes('response.done') && state.peak > 0.1", ANSWERED_WITHIN_S)
        state = page.run("state")
        assert (page.console, page.errors) == ([], [])
    assert state["protocol"] == "realtime"
    assert state["session"]["instructions"] == "Be brief."
    turn = [kind for kind in state["kinds"] if kind.startswith("input_audio_buffer")]
    assert turn == [
        f"input_audio_buffer.{kind}" for kind in ("speech_started", "speech_stopped", "committed")
    ]
    assert state["transcript"] == "good morning"
    (spoken,) = locked.engine.spoken.values()
    assert state["samples"] == len(spoken) // 2
    assert state["closed"] is None
    (request,) = locked.engine.requests
    assert 0.4 < request.media.audios[0].seconds < 2.5


def test_a_page_without_a_secret_gets_no_connection(locked: Served, pages: str, browser: Browser) -> None:  # noqa: F811
    url = locked.url.replace("http", "ws", 1) + "/v1/realtime?model=echo"
    with browser.page() as page:
        page.open(f"{pages}/talk.html")
        page.run(f"talk('{url}', 'ek_none').catch(() => null)")
        assert page.wait_for("state.closed", ANSWERED_WITHIN_S) == 1006
        assert page.run("state.kinds") == []
