"""An engine that runs out of memory in a step ends its requests, restarts, and serves again.

Tested in the Talker, the Thinker and its audio encoder, one after the other, with one server.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.answers import STREAMED, said
from tests.e2e.live_stream import LONG, LiveStream
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import MODEL, RunningServer, becomes
from tests.e2e.test_restarts import TEXT, ask, ends_with_one_error, restarts, speaks_again, works

pytestmark = [pytest.mark.engine, pytest.mark.promise("R25")]


def test_the_talker_out_of_memory_ends_the_speech_and_leaves_text_up(
    faulty: RunningServer, faults: Path
) -> None:
    before = restarts(faulty)
    stream = LiveStream(faulty, LONG)
    stream.wait_for_sound()
    (faults / "talker").touch()
    ends_with_one_error(stream, "talker")
    assert ask(faulty, TEXT).status_code == 200
    speaks_again(faulty)
    assert restarts(faulty) == before | {"talker": before["talker"] + 1}


def test_the_thinker_out_of_memory_ends_all_requests_and_no_client_gets_the_allocators_message(
    faulty: RunningServer, faults: Path
) -> None:
    """The speech that runs has its whole text; another request's step is the one that fails."""
    before = restarts(faulty)
    stream = LiveStream(faulty, LONG)
    stream.wait_for_sound()
    (faults / "thinker").touch()
    answer = ask(faulty, TEXT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_dead")
    assert "llocat" not in answer.text
    ends_with_one_error(stream, "thinker")
    speaks_again(faulty)
    assert restarts(faulty) == before | {"thinker": before["thinker"] + 1}


def test_the_audio_encoder_out_of_memory_ends_the_request_with_an_error(
    faulty: RunningServer, faults: Path, recordings: Recordings
) -> None:
    before = restarts(faulty)
    (faults / "encoder").touch()
    heard = {"model": MODEL, "messages": [{"role": "user", "content": [recordings.asked_aloud()]}]}
    answer = ask(faulty, heard | {"max_tokens": 8})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_dead")
    assert int(answer.headers["retry-after"]) > 0
    assert becomes(lambda: works(faulty) == ["text", "speech"], 120, every_s=0.2), faulty.said()
    again = ask(faulty, heard | {"max_tokens": 8})
    assert again.status_code == 200
    spoken = LiveStream(faulty, {"model": MODEL, "messages": said("Hello."), "max_tokens": 8, **STREAMED})
    assert spoken.ended(60)
    assert restarts(faulty) == before | {"thinker": before["thinker"] + 1}
