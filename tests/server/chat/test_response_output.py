"""The output of a response is the same for any cut of the text, and its events sum up to it."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.events import TextDelta, TextEnded
from antiphon_server.chat.field_names import FieldNames
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.response.output.open_items import Events
from antiphon_server.chat.response.output.response_events import ResponseEvents
from antiphon_server.chat.response.output.response_writer import ResponseWriter
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.openai_api.responses.request import ReasoningOptions, TextOptions
from antiphon_server.openai_api.responses.response import Response
from tests.server.chat.test_chunks import HEAD
from tests.server.routes.responses_client import CALL, without_ids

PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", CALL, "Two ", "\n", "<tool_", "call>", "é"]), max_size=8
)
BEGUN = Response(
    id="resp_1",
    created_at=1,
    status="in_progress",
    instructions=None,
    max_output_tokens=None,
    metadata={},
    model="m",
    output=[],
    parallel_tool_calls=True,
    reasoning=ReasoningOptions(),
    temperature=1.0,
    text=TextOptions(),
    tool_choice="auto",
    tools=[],
    top_logprobs=0,
    top_p=1.0,
)
FORM = AnswerForm(
    stream=True,
    dialect="openai",
    speaks=False,
    audio_format="pcm16",
    choices=1,
    tool_use="many",
    include_usage=False,
    continuous_usage=False,
    reasoning="possible",
)


def written(texts: list[str]) -> tuple[Events, list[dict[str, Any]]]:
    """The events, and the output of the response that they end with."""
    events = ResponseEvents(BEGUN)
    writer = ResponseWriter(events, HEAD, FORM, UsageMeter())
    sent = writer.begin()
    for text in texts:
        sent += writer.text(TextDelta(0, text, 1))
    sent += writer.text(TextEnded(0, "stop"))
    sent += writer.end()
    return sent, [item.model_dump() for item in events.response.output]


@given(PIECES, st.data())
def test_the_output_is_the_same_for_any_cut(pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    edges = [0, *cuts, len(text)]
    parts = [text[start:end] for start, end in pairwise(edges)]
    assert without_ids(written(parts)[1]) == without_ids(written([text])[1])


@given(PIECES)
def test_the_deltas_sum_up_to_the_output(pieces: list[str]) -> None:
    sent, output = written(pieces)
    sums: dict[int, str] = defaultdict(str)
    for event in sent:
        sums[getattr(event, "output_index", -1)] += getattr(event, "delta", "")
    found = [item["arguments"] if "arguments" in item else item["content"][0]["text"] for item in output]
    assert [sums[index] for index in range(len(output))] == found
    assert [event.sequence_number for event in sent] == list(range(len(sent)))


def test_the_longest_known_path_names_a_field() -> None:
    names = FieldNames({"messages": "input", "messages[1]": "input[0]", "tools[0].function": "tools[0]"})
    paths = ["messages", "messages[1].content[2]", "messages[10]", "tools[0].function.name", "n"]
    assert [names.translate(path) for path in paths] == [
        "input",
        "input[0].content[2]",
        "input[10]",
        "tools[0].name",
        "n",
    ]
