"""The requests: accepted by our own server, reproducible by seed, and all different."""

from __future__ import annotations

import base64
import io
import json
import random
import wave
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from antiphon_server.bench.load import attachments
from antiphon_server.bench.load.workload import build_request, describe_inputs, make_questions
from antiphon_server.bench.options import INPUTS, Dialect, Input, Workload
from antiphon_server.media.decode.sniff import sniff
from antiphon_server.media.ffmpeg import find_ffmpeg
from antiphon_server.openai_api.request import parse_chat_request

SMALL = Workload(inputs=INPUTS, distinct=8, image_pixels=(64, 48), video_s=0.5, voice="ethan")


def bodies(workload: Workload, dialect: Dialect = "openai", seed: int = 0) -> list[bytes]:
    return [build_request(one, workload, dialect, "m").body for one in make_questions(workload, seed)]


@pytest.mark.parametrize("dialect", ["openai", "dashscope", "vllm-omni"])
def test_our_own_server_understands_every_dialect(dialect: Dialect) -> None:
    for body in bodies(SMALL, dialect):
        request = parse_chat_request(body)
        assert request.stream
        assert request.speaks


def test_kinds_alternate_and_all_requests_differ() -> None:
    questions = make_questions(SMALL, 0)
    assert [one.input for one in questions] == [*INPUTS, *INPUTS]
    assert len(set(bodies(SMALL))) == 8
    assert len(set(bodies(Workload(distinct=200)))) == 200


def test_the_same_seed_makes_the_same_requests() -> None:
    workload = Workload(inputs=("image",), distinct=3, image_pixels=(32, 32))
    assert bodies(workload, seed=5) == bodies(workload, seed=5)
    assert bodies(workload, seed=5) != bodies(workload, seed=6)


def test_only_dashscope_gets_audio_as_a_data_url() -> None:
    workload = Workload(inputs=("audio",), distinct=1)
    data = {name: _sound_of(bodies(workload, name)[0]) for name in ("openai", "dashscope", "vllm-omni")}
    assert data["dashscope"] == f"data:;base64,{data['openai']}"
    assert data["vllm-omni"] == data["openai"]


def test_extra_fields_override() -> None:
    workload = Workload(distinct=1, max_tokens=9, extra={"temperature": 0, "modalities": ["text"]})
    body = json.loads(bodies(workload)[0])
    assert (body["temperature"], body["max_tokens"], body["modalities"]) == (0, 9, ["text"])


def test_recordings_of_the_user_are_sent_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "mine.mp3"
    path.write_bytes(b"bytes of an mp3")
    workload = Workload(inputs=("audio",), distinct=1, recordings=(path,))
    body = json.loads(bodies(workload)[0])
    (part,) = body["messages"][0]["content"]
    assert part["input_audio"] == {"data": base64.b64encode(b"bytes of an mp3").decode(), "format": "mp3"}
    assert "the user's recordings" in describe_inputs(workload)


def test_noise_is_called_noise_without_espeak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "has_espeak", lambda: False)
    workload = Workload(inputs=("audio",), distinct=1)
    assert "noise" in describe_inputs(workload)
    with wave.open(io.BytesIO(base64.b64decode(_sound_of(bodies(workload)[0])))) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (16_000, 48_000)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_images_and_videos_are_what_they_say(kind: Input) -> None:
    rng = random.Random(0)
    if kind == "image":
        with Image.open(io.BytesIO(attachments.random_image(rng, (64, 48)).data)) as image:
            assert (image.format, image.size) == ("PNG", (64, 48))
    else:
        assert find_ffmpeg()
        assert sniff(attachments.synthetic_video(rng, (63, 48), 0.5).data) is not None


def _sound_of(body: bytes) -> str:
    parts: list[dict[str, Any]] = json.loads(body)["messages"][0]["content"]
    return str(parts[0]["input_audio"]["data"])
