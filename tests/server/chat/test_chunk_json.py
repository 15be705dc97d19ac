"""Chunks from templates are the bytes of the pydantic models, in every dialect and with every option."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.events import PromptCounted, TextDelta, TextEnded, TokenLogprob
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response import chunk_json
from antiphon_server.chat.response.chunk_json import ChunkJson, to_json_list
from antiphon_server.chat.response.chunks import ChunkWriter
from antiphon_server.chat.thinking import Reasoning
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.config.settings import Dialect
from antiphon_server.openai_api.response import Chunk
from tests.server.chat.test_chunks import form

pytestmark = pytest.mark.promise("R20")

HEAD = AnswerHead('chatcmpl-"1"', 'a "model" \\ of ours é', 1_700_000_000, "audio_1", 1_700_003_600)
LOGPROBS = (TokenLogprob("a", b"a", -0.5, (TokenLogprob("b", b"b", -1.5),)),)
TEXTS = [
    "<think>",
    "well ",
    "</think> Hi",
    "",
    ' "quoted" \\ \b\f\n\r\t\x00\x1f\x7f',
    "é ü 語 😀 \u2028\u2029",
    "</script>",
    "0" * 32,
    "data: ",
]
FORMS = [
    form(
        dialect=dialect, speaks=speaks, choices=2, tool_use=tools, reasoning=reasoning, include_usage=usage,
        continuous_usage=often,
    )
    for dialect, speaks, tools, reasoning, usage, often in product(
        get_args(Dialect), (False, True), ("none", "many"), get_args(Reasoning), (False, True), (False, True)
    )
]  # fmt: skip


class Both:
    """One answer, written by models and from templates."""

    def __init__(self, form: AnswerForm) -> None:
        self.meters = UsageMeter(), UsageMeter()
        for meter in self.meters:
            meter.count_prompt(PromptCounted(3, 2, 0, 0, 1))
        self.models, self.writer = (ChunkWriter(HEAD, form, meter) for meter in self.meters)
        self.json = ChunkJson(self.writer, form)

    def check_text(self, delta: TextDelta) -> None:
        for meter in self.meters:
            meter.count_text(delta.tokens)
        assert self.json.text(delta) == to_json_list(self.models.text_chunks(delta))
        assert self.writer.transcript == self.models.transcript

    def check_audio(self, data: bytes) -> None:
        for meter in self.meters:
            meter.count_speech(1)
        assert self.json.audio(data) == to_json_list(self.models.audio_chunks(data))

    def check_end(self) -> None:
        for choice in range(2):
            end = TextEnded(choice, "stop")
            assert self.json.text_end(end) == to_json_list(self.models.text_end_chunks(end))
        assert to_json_list(self.writer.last_chunks()) == to_json_list(self.models.last_chunks())


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_text_and_audio_in_any_order_are_the_models_bytes(form: AnswerForm) -> None:
    both = Both(form)
    for number, text in enumerate(TEXTS * 2):
        both.check_text(TextDelta(number % 2, text, 1))
        both.check_text(TextDelta(number % 2, text, 1, LOGPROBS))
        both.check_audio(bytes(range(number * 7)))
    both.check_end()


@given(st.lists(st.text(max_size=20), max_size=8), st.sampled_from(FORMS))
def test_any_text_is_the_models_bytes(texts: list[str], form: AnswerForm) -> None:
    both = Both(form)
    for text in texts:
        both.check_text(TextDelta(0, text, 1))


def test_plain_text_makes_one_model_for_a_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a thousand tokens: the first makes the template, and no other makes a model."""
    made: list[Any] = []

    class Counted(Chunk):
        def model_post_init(self, _: Any) -> None:
            made.append(self)

    monkeypatch.setattr("antiphon_server.chat.response.chunks.wire.Chunk", Counted)
    plain = form()
    written = ChunkJson(ChunkWriter(HEAD, plain, UsageMeter()), plain)
    for number in range(1_000):
        written.text(TextDelta(0, f"token {number}", 1))
    assert len(made) == 1


def test_a_model_named_like_the_gap_is_no_problem() -> None:
    head = AnswerHead("id", f"omni {chunk_json._GAP}", 1, "audio", 2)
    plain = form()
    models = ChunkWriter(head, plain, UsageMeter())
    delta = TextDelta(0, "Hi", 1)
    assert ChunkJson(models, plain).text(delta) == to_json_list(models.text_chunks(delta))
