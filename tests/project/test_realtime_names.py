"""Every event, error code and setting of the realtime interface stands in a test of it."""

from __future__ import annotations

import re

from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.openai_api.realtime.client_events import EVENT_TYPES
from tests.project.sources import product, suite

EVENT = re.compile(
    r'"((?:session|conversation|input_audio_buffer|output_audio_buffer|response|rate_limits)\.[a-z_.]+)"'
)
CODE = re.compile(r'(?:code=|_expired\()"([a-z_]+)"')
# Parameters, and the beginning of the names of three events.
NO_EVENTS = re.compile(r"session\.(model|tools|output_modalities|audio\..*)|.*\.input_audio_transcription")


def names() -> set[str]:
    """Of the interface, as its source and its settings have them."""
    texts = [one.text for one in product("server") if "/realtime" in one.name]
    events = {name for text in texts for name in EVENT.findall(text) if not NO_EVENTS.fullmatch(name)}
    codes = {code for text in texts for code in CODE.findall(text)}
    return {*EVENT_TYPES, *events, *codes, *RealtimePolicy.model_fields}


def test_the_names_are_found() -> None:
    assert {"response.done", "input_audio_buffer.append", "session_idle", "frame_bytes"} < names()
    assert len(names()) > 70


def test_each_name_of_the_interface_is_in_a_test() -> None:
    tests = "".join(
        one.text for one in suite() if one.name.startswith("tests/server/") and "ealtime" in one.text
    )
    missing = [name for name in names() if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", tests)]
    assert not missing
