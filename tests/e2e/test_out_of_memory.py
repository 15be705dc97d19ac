"""An engine that runs out of memory in a step ends its requests, restarts, and serves again.

Tested in the Talker, the Thinker and its audio encoder, one after the other, with one server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.answers import STREAMED, said
from tests.e2e.conftest import StartServer
from tests.e2e.live_stream import LONG, LiveStream
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import MODEL, RunningServer, becomes
from tests.e2e.test_restarts import TEXT, ask, ends_with_one_error, speaks_again, works

pytestmark = [pytest.mark.engine, pytest.mark.promise("R25")]

FAULTS = Path(__file__).parent / "faults"


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def short(start: StartServer, faults: Path) -> Iterator[RunningServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(FAULTS))
        patch.setenv("ANTIPHON_TEST_FAULTS", str(faults))
        server = start()
    yield server
    server.end()


def restarts(server: RunningServer, stage: str) -> float:
    return server.metrics()["antiphon_engine_restarts_total", stage]


def test_the_talker_out_of_memory_ends_the_speech_and_leaves_text_up(
    short: RunningServer, faults: Path
) -> None:
    stream = LiveStream(short, LONG)
    stream.wait_for_sound()
    (faults / "talker").touch()
    ends_with_one_error(stream, "talker")
    assert ask(short, TEXT).status_code == 200
    speaks_again(short)
    assert (restarts(short, "talker"), restarts(short, "thinker")) == (1, 0)


def test_the_thinker_out_of_memory_ends_all_requests_and_no_client_gets_the_allocators_message(
    short: RunningServer, faults: Path
) -> None:
    """The speech that runs has its whole text; another request's step is the one that fails."""
    stream = LiveStream(short, LONG)
    stream.wait_for_sound()
    (faults / "thinker").touch()
    answer = ask(short, TEXT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_dead")
    assert "llocat" not in answer.text
    ends_with_one_error(stream, "thinker")
    speaks_again(short)
    assert (restarts(short, "talker"), restarts(short, "thinker")) == (1, 1)


def test_the_audio_encoder_out_of_memory_ends_the_request_with_an_error(
    short: RunningServer, faults: Path, recordings: Recordings
) -> None:
    (faults / "encoder").touch()
    heard = {"model": MODEL, "messages": [{"role": "user", "content": [recordings.asked_aloud()]}]}
    answer = ask(short, heard | {"max_tokens": 8})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_dead")
    assert int(answer.headers["retry-after"]) > 0
    assert becomes(lambda: works(short) == ["text", "speech"], 120, every_s=0.2), short.said()
    again = ask(short, heard | {"max_tokens": 8})
    assert again.status_code == 200
    spoken = LiveStream(short, {"model": MODEL, "messages": said("Hello."), "max_tokens": 8, **STREAMED})
    assert spoken.ended(60)
    assert restarts(short, "thinker") == 2
