"""In the Talker's engine, short streams share 8 slots, and none has another's voice, codes or text.

As `tests/talker/test_canaries.py`, with vLLM's cache, scheduler and sockets. Takes minutes: `make canaries`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.models.special_tokens import PromptIds
from tests.checkpoints import released_qwen3_omni, tiny_qwen3_5_omni  # noqa: F401
from tests.parity.talker.canaries import (
    ALONE,
    COUNT,
    Canary,
    all_sing,
    assert_no_two_alike,
    assert_same,
    canaries,
    sing,
)
from tests.parity.talker.rig import TalkerRig

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(3_600),
    pytest.mark.long("ANTIPHON_ENGINE_CANARIES"),
    pytest.mark.promise("R21"),
]


async def none_is_another(rig: TalkerRig, flock: list[Canary]) -> None:
    """Some run alone, and all run twice among other streams, in other slots each time."""
    staying = [canary for canary in flock if not canary.leaves]
    alone = {canary.number: await sing(rig, canary) for canary in staying[:ALONE]}
    first, second = await all_sing(rig, flock, 1), await all_sing(rig, flock, 2)
    assert len(first) == len(second) == len(staying)
    assert_no_two_alike(first)
    assert_same(first, alone)
    assert_same(second, alone)
    assert_same(second, first)
    assert rig.slots.used == 0


async def test_given_a_text_beside_the_frames_then_no_stream_shows_anything_of_another(
    talker: TalkerRig,
    released_qwen3_omni: Path,  # noqa: F811
) -> None:
    config = read_config(released_qwen3_omni)
    hidden = config.thinker_config.text_config.hidden_size
    voices = ("ethan", "chelsie", "aiden")
    await none_is_another(talker, canaries(PromptIds.of(config), hidden, voices, COUNT))


async def test_given_a_text_between_the_frames_then_no_stream_shows_anything_of_another(
    aria: TalkerRig,
    tiny_qwen3_5_omni: Path,  # noqa: F811
) -> None:
    config = read_config(tiny_qwen3_5_omni)
    hidden = config.talker_config.thinker_hidden_size
    await none_is_another(aria, canaries(PromptIds.of(config), hidden, ("spoken", "written"), COUNT))
