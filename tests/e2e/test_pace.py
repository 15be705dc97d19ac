"""Speech is generated no further ahead of its client than the operator allows."""

from __future__ import annotations

import base64
import json
import re
import time

import httpx
import pytest

from tests.e2e.conftest import AHEAD_S
from tests.e2e.live_stream import LONG
from tests.e2e.server_process import RunningServer, becomes

pytestmark = pytest.mark.engine

# A packet on its way, one step, and how coarse a busy machine's clock is.
SPARE_S = 1.5
ANSWER_S = 12.0


def listen(server: RunningServer) -> list[tuple[float, float]]:
    """(seconds since the first sound, seconds of sound so far) at each packet of one answer."""
    came: list[tuple[float, float]] = []
    heard_s, began_s = 0.0, 0.0
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=LONG, timeout=120) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            choices = json.loads(line[6:]).get("choices") or [{}]
            data = (choices[0].get("delta", {}).get("audio") or {}).get("data")
            if data:
                began_s = began_s or time.monotonic()
                heard_s += len(base64.b64decode(data)) / 48_000
                came.append((time.monotonic() - began_s, heard_s))
            if heard_s >= ANSWER_S:
                break
    return came


def test_speech_is_generated_no_further_ahead_of_its_client_than_is_set(paced: RunningServer) -> None:
    """Given an answer of many seconds, on a machine that may be far faster than speech."""
    came = listen(paced)
    assert came[-1][1] >= ANSWER_S
    assert max(heard_s - at_s for at_s, heard_s in came) <= AHEAD_S + SPARE_S


def test_the_talkers_step_times_reach_admission_control(paced: RunningServer) -> None:
    """The server knows how long a frame takes, how many listeners that is, and what the caches hold."""
    with httpx.stream("POST", f"{paced.url}/v1/chat/completions", json=LONG, timeout=120) as answer:
        answer.raise_for_status()
        assert becomes(lambda: paced.metrics()["antiphon_admission_frame_seconds", ""] > 0, 60)
        speaking = paced.metrics()
    assert speaking["antiphon_admission_live_streams", ""] == 1
    assert 1 <= speaking["antiphon_admission_live_streams_limit", ""] <= 8
    text = paced.get("/metrics").text
    free = re.findall(r'antiphon_admission_cache_blocks{stage="(\w+)",state="free"} (\S+)', text)
    assert {stage for stage, blocks in free if float(blocks) > 8} == {"thinker", "talker"}
