"""The layout of public ports: marked voice frames, codec ids before the text, projected user text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.checkpoint.voices import voice_prompts
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.interface.settings import TalkerSettings
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_server.process.preflight import check_checkpoint
from tests.checkpoints import tiny_qwen3_5_omni  # noqa: F401
from tests.parity.talker.aria_oracle import AriaOracle, heard_prompt
from tests.parity.talker.port_checkpoint import FRAMES, write_port
from tests.parity.talker.rig import TalkerRig, aria_rig
from tests.parity.talker.test_aria import assert_same_speech, said, words

pytestmark = pytest.mark.engine

GREEDY = SpeechSampling("tina", temperature=0, max_frames=24)


@pytest.fixture(scope="module")
def port(tiny_qwen3_5_omni: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    return write_port(tiny_qwen3_5_omni, tmp_path_factory.mktemp("port") / "checkpoint")


@pytest.fixture(scope="module")
def port_oracle(port: Path, tiny_qwen3_5_omni: Path) -> AriaOracle:  # noqa: F811
    config = read_config(port)
    assert isinstance(config, Qwen3_5OmniMoeConfig)
    oracle = AriaOracle(tiny_qwen3_5_omni, config=config)
    oracle.voices = {one.voice.id: one.prompt for one in voice_prompts(port, config, None)}
    oracle.voices["english"] = replace(oracle.voices["tina"], language="english")
    return oracle


@pytest_asyncio.fixture(scope="module")
async def port_talker(port: Path, port_oracle: AriaOracle) -> AsyncIterator[TalkerRig]:
    settings = TalkerSettings(dtype="float32", streams=4, max_model_len=2_048, media_rows=4_096)
    async with aria_rig(port, settings, port_oracle.voices) as rig:
        yield rig


def test_a_ports_checkpoint_passes_the_checks_before_loading(port: Path) -> None:
    check_checkpoint(port, speaks=True)


def test_built_in_voices_have_their_frames(port_oracle: AriaOracle) -> None:
    frames = {name: len(voice.codes) for name, voice in port_oracle.voices.items()}
    assert (frames["tina"], frames["m02"]) == (FRAMES, FRAMES - 2)


async def test_given_the_layout_of_ports_then_codes_and_waveform_are_those_of_the_reference(
    port_talker: TalkerRig, port_oracle: AriaOracle
) -> None:
    heard = []
    for seed, (voice, media, size) in enumerate(
        (("tina", 7, 5), ("m02", 0, 9), ("english", 30, 12), ("ben", 3, 4))
    ):
        prompt = heard_prompt(port_oracle, media, size, seed)
        truth = port_oracle.speak(prompt, words(port_oracle, 11, seed), replace(GREEDY, voice=voice))
        assert_same_speech(await said(port_talker, truth), truth)
        heard.append(truth.codes)
    assert all(not np.array_equal(heard[0], other) for other in heard[1:])
