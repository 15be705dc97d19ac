"""The exported checkpoint in both engines, in float32: text and audio equal the reference."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from antiphon_executor.checkpoint.voices import voice_prompts
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.e2e.answers import STREAMED, ask
from tests.e2e.server_process import RunningServer, start_server
from tests.nano.served.server_path import Message, served, shown
from tests.nano.served.test_served_thinker import drawn
from tests.parity.sound import assert_same_wave

pytestmark = pytest.mark.engine

Model = Qwen3_5OmniMoeForConditionalGeneration
FRAMES = 24
TOKENS = 7
GREEDY = {"talker_temperature": 0.0}
# The reference does not change a text that was cut, and has no speech guard.
AS_IT_IS = ("--engine.talker.guard.cut-text", "leave", "--engine.talker.guard.cut-stretch", "1000")


@pytest.fixture(scope="module")
def running(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    log = tmp_path_factory.mktemp("engine") / "log"
    server = start_server(exported, log, "--engine.talker.max-frames", str(FRAMES), *AS_IT_IS)
    yield server
    server.end()


def test_text_and_sound_are_the_reference_s(running: RunningServer, exported: Path) -> None:
    content: list[Message] = [shown(drawn(2)[0]), {"type": "text", "text": "What is it?"}]
    messages = [{"role": "user", "content": content}]
    form = {**STREAMED, "audio": {"voice": "deep", "format": "pcm16"}, "extra_body": GREEDY}
    answer = ask(running.client(), messages, max_tokens=TOKENS, **form)

    meant = asyncio.run(_meant(exported, messages))

    sound = np.frombuffer(answer.pcm, "<i2")
    assert "\ufffd" not in meant[0], "half a character is no text that could be spoken"
    assert answer.text == meant[0]
    assert meant[1].std() > 1e-3
    assert_same_wave(sound, meant[1].numpy())


async def _meant(exported: Path, messages: list[Message]) -> tuple[str, torch.Tensor]:
    loader = MediaLoader(MediaPolicy())
    await loader.start()
    server = served(exported, loader)
    prompt = await server.prompt(messages)
    await loader.close()
    model = Model.from_pretrained(exported, dtype=torch.float32).eval()
    voice = next(v.prompt for v in voice_prompts(exported, model.config, None) if v.voice.id == "deep")
    sampling = StreamSampling(seed=0, temperature=0.0, predictor_temperature=0.0)
    answer = model.generate(prompt, voice, sampling, max_tokens=TOKENS, max_frames=FRAMES)
    return server.processor.info.get_tokenizer().decode(answer.text_ids), answer.waveform
