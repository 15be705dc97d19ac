"""When hidden states are sent, which, and from where: the connector's scheduler half, without an engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorRole

from antiphon_executor.models.hidden_states.connector import (
    CompletedPrompt,
    HiddenStatesConnector,
    request_hidden_states,
)
from antiphon_executor.models.special_tokens import PromptIds

AUDIO, IMAGE, VIDEO, SEGMENT, USER = range(1, 6)
IDS = PromptIds(SEGMENT, USER, -2, AUDIO, IMAGE, VIDEO, -3, -4, -5)
BLOCK = 4
ROWS_LAYERS = 2
PROMPT = [SEGMENT, USER, 9, 9, 9, 9, 9, 9, 9, 9]


def test_only_media_of_users_is_sent() -> None:
    system, assistant = [SEGMENT, 8, AUDIO], [SEGMENT, 7, VIDEO]
    ids = [AUDIO, *system, SEGMENT, USER, IMAGE, 9, AUDIO, *assistant, SEGMENT, USER, VIDEO, SEGMENT]
    assert IDS.user_media(np.array(ids, dtype=np.int32)).tolist() == [6, 8, 14]


@pytest.mark.parametrize("ids", [[], [9, AUDIO], [SEGMENT]])
def test_prompts_without_a_user_have_no_rows(ids: list[int]) -> None:
    assert IDS.user_media(np.array(ids, dtype=np.int32)).tolist() == []


@pytest.fixture
def connector() -> HiddenStatesConnector:
    thinker = SimpleNamespace(audio_token_id=AUDIO, image_token_id=IMAGE, video_token_id=VIDEO)
    config = SimpleNamespace(
        model_type="qwen3_omni_moe",
        thinker_config=thinker,
        im_start_token_id=SEGMENT,
        user_token_id=USER,
        assistant_token_id=-2,
        tts_pad_token_id=-3,
        tts_bos_token_id=-4,
        tts_eos_token_id=-5,
    )
    layers = ["model.layers.0", *(f"hidden_states.layers.{n}" for n in range(4, 4 + ROWS_LAYERS))]
    groups = [
        SimpleNamespace(layer_names=names, kv_cache_spec=SimpleNamespace(block_size=BLOCK))
        for names in (["model.layers.1.state"], layers)
    ]
    vllm_config: Any = SimpleNamespace(
        model_config=SimpleNamespace(hf_config=config),
        kv_transfer_config=SimpleNamespace(kv_connector_extra_config={}),
    )
    cache_config: Any = SimpleNamespace(kv_cache_groups=groups)
    return HiddenStatesConnector(vllm_config, KVConnectorRole.SCHEDULER, cache_config)


def request(name: str = "inner", ids: list[int] = PROMPT, asked: str | None = "turn") -> Any:
    params = request_hidden_states(asked)["kv_transfer_params"] if asked else None
    return SimpleNamespace(request_id=name, prompt_token_ids=ids, mm_features=[], kv_transfer_params=params)


def step(
    connector: HiddenStatesConnector, blocks: dict[str, list[int]], new: Any = (), cached: Any = ()
) -> list[CompletedPrompt]:
    """One schedule: `new` and `cached` are (request, tokens computed before, tokens of this step)."""
    output: Any = SimpleNamespace(
        scheduled_new_reqs=[SimpleNamespace(req_id=each[0], num_computed_tokens=each[1]) for each in new],
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=[name for name, _, _ in cached], num_computed_tokens=[before for _, before, _ in cached]
        ),
        num_scheduled_tokens={name: tokens for name, _, tokens in (*new, *cached)},
        kv_connector_block_state=SimpleNamespace(resolve_block_ids=lambda name: ([99], blocks[name])),
    )
    return connector.build_connector_meta(output).complete


def test_rows_are_read_once_the_last_chunk_is_computed(connector: HiddenStatesConnector) -> None:
    """Given ten tokens with media at 3 and 8, in chunks of four, then the third step reads their slots."""
    ids = [SEGMENT, USER, 9, AUDIO, 9, 9, 9, 9, IMAGE, 9]
    connector.on_new_request(request(ids=ids))
    assert step(connector, {}, new=[("inner", 0, 4)]) == []
    assert step(connector, {}, cached=[("inner", 4, 4)]) == []
    (complete,) = step(connector, {"inner": [7, 2, 5]}, cached=[("inner", 8, 2)])
    assert complete.prompt.request_id == "turn"
    assert complete.slots.tolist() == [[7 * BLOCK + 3, 5 * BLOCK + 0]] * ROWS_LAYERS
    assert step(connector, {}, cached=[("inner", 10, 1)]) == [], "once"


def test_a_prompt_from_the_cache_is_complete_after_its_last_token(connector: HiddenStatesConnector) -> None:
    connector.on_new_request(request())
    assert len(step(connector, {"inner": [0, 1, 2]}, new=[("inner", 9, 1)])) == 1


def test_a_preempted_prompt_starts_again_and_is_read_once(connector: HiddenStatesConnector) -> None:
    connector.on_new_request(request())
    assert step(connector, {}, new=[("inner", 0, 8)]) == []
    assert step(connector, {}, cached=[("inner", 0, 8)]) == []
    assert len(step(connector, {"inner": [3, 4, 5]}, cached=[("inner", 8, 2)])) == 1
    assert step(connector, {}, cached=[("inner", 0, 12)]) == []


def test_who_does_not_ask_gets_nothing(connector: HiddenStatesConnector) -> None:
    connector.on_new_request(request(asked=None))
    assert step(connector, {}, new=[("inner", 0, 10)]) == []


def test_an_aborted_request_is_forgotten_and_holds_no_block(connector: HiddenStatesConnector) -> None:
    aborted = request()
    connector.on_new_request(aborted)
    assert connector.request_finished_all_groups(aborted, ([1, 2],)) == (False, None)
    assert step(connector, {}, new=[("inner", 0, 10)]) == []


def test_several_requests_complete_in_one_step(connector: HiddenStatesConnector) -> None:
    connector.on_new_request(request("one", asked="a"))
    connector.on_new_request(request("two", asked="b"))
    both = step(connector, {"one": [0, 1, 2], "two": [3, 4, 5]}, new=[("one", 0, 10), ("two", 0, 10)])
    assert [complete.prompt.request_id for complete in both] == ["a", "b"]
