"""The session: complete when shown, merged deeply, refused by the name of the field."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.realtime.session import Session
from antiphon_server.realtime.session_state import SessionIdentity, SessionState, first_session


@pytest.fixture
def state() -> SessionState:
    return SessionState(SessionIdentity("sess_1", "echo", 99), first_session(), lambda _: None)


def update(state: SessionState, **fields: Any) -> dict[str, Any]:
    state.session = state.updated(fields)
    return state.show()


def test_a_new_session_shows_every_field(state: SessionState) -> None:
    turns = {
        "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500,
        "create_response": True, "interrupt_response": True, "idle_timeout_ms": None,
    }  # fmt: skip
    pcm = {"type": "audio/pcm", "rate": 24_000}
    listening = {"format": pcm, "noise_reduction": None, "transcription": None, "turn_detection": turns}
    assert state.show() == {
        "type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "echo", "expires_at": 99,
        "instructions": "", "output_modalities": ["audio"], "tools": [], "tool_choice": "auto",
        "max_output_tokens": "inf", "truncation": "auto", "tracing": None, "prompt": None, "include": None,
        "audio": {"input": listening, "output": {"format": pcm, "voice": None, "speed": 1.0}},
    }  # fmt: skip


def test_present_fields_merge_deeply(state: SessionState) -> None:
    detection = {"type": "server_vad", "threshold": 0.7}
    update(state, instructions="Be brief.", audio={"input": {"turn_detection": detection}})
    shown = update(state, audio={"output": {"voice": "ethan"}, "input": {"format": {"type": "audio/pcmu"}}})
    assert shown["instructions"] == "Be brief."
    assert shown["audio"]["input"]["turn_detection"]["threshold"] == 0.7
    assert shown["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert shown["audio"]["output"]["voice"] == "ethan"


def test_null_clears_turn_detection_and_transcription_and_nothing_else(state: SessionState) -> None:
    update(state, audio={"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}, instructions="Hi")
    cleared = {"turn_detection": None, "transcription": None, "format": None}
    shown = update(state, audio={"input": cleared}, instructions=None)
    assert shown["audio"]["input"]["turn_detection"] is None
    assert shown["audio"]["input"]["transcription"] is None
    assert shown["audio"]["input"]["format"]["rate"] == 24_000
    assert shown["instructions"] == "Hi"
    assert update(state, instructions="")["instructions"] == ""


def test_another_kind_of_turn_detection_replaces_the_one_before(state: SessionState) -> None:
    semantic = {"type": "semantic_vad", "eagerness": "low"}
    shown = update(state, audio={"input": {"turn_detection": semantic}})["audio"]["input"]["turn_detection"]
    assert shown == {**semantic, "create_response": True, "interrupt_response": True}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"output_modalities": ["text", "audio"]}, "session.output_modalities"),
        ({"modalities": ["text"]}, "session.modalities"),
        ({"input_audio_format": "pcm16"}, "session.input_audio_format"),
        ({"voice": "ethan"}, "session.voice"),
        ({"model": "another"}, "session.model"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "session.tools[0]"),
        ({"max_output_tokens": 5_000}, "session.max_output_tokens"),
        ({"audio": {"output": {"speed": 1.2}}}, "session.audio.output.speed"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8_000}}}},
            "session.audio.input.format.rate",
        ),
        (
            {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 6_000}}}},
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name_and_changes_nothing(
    state: SessionState, fields: dict[str, Any], param: str
) -> None:
    before = state.show()
    with pytest.raises(BadRequest) as refused:
        state.updated({"instructions": "changed", **fields})
    assert refused.value.param == param
    assert state.show() == before


def test_a_name_of_the_beta_is_refused_with_the_present_one(state: SessionState) -> None:
    with pytest.raises(BadRequest, match=r"session\.audio\.input\.format") as refused:
        state.updated({"input_audio_format": "pcm16"})
    assert refused.value.code == "unknown_parameter"


def test_fields_that_change_nothing_are_accepted(state: SessionState) -> None:
    unused: dict[str, Any] = {
        "tracing": "auto",
        "include": [],
        "prompt": {"id": "x"},
        "reasoning": {"effort": "low"},
    }
    shown = update(
        state, **unused, audio={"input": {"noise_reduction": {"type": "near_field"}}}, model="echo"
    )
    assert (shown["tracing"], shown["include"], shown["prompt"]) == (None, None, None)
    assert shown["audio"]["input"]["noise_reduction"] is None


def test_a_session_that_the_model_cannot_have_is_refused() -> None:
    def refuse(_: Session) -> None:
        raise BadRequest("no", param="session.x")

    state = SessionState(SessionIdentity("sess_1", "echo", 99), first_session(), refuse)
    with pytest.raises(BadRequest):
        state.updated({"instructions": "x"})
    assert state.session.instructions == ""
