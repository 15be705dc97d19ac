"""Any client events in any state of a response: what is open is closed in order, and nothing follows."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.realtime.audio.spoken_sound import SpokenSound
from antiphon_server.realtime.audio.turn_detector import SpeechSoFar
from antiphon_server.realtime.effects import StartResponse, Step, StopResponse
from antiphon_server.realtime.items import Message, TextPart
from antiphon_server.realtime.open_response import OpenResponse, Outcome
from antiphon_server.realtime.prompt_messages import read_items
from tests.examples import examples
from tests.server.realtime.machines import make_machine, send, silence, user_text

OUTCOMES = st.sampled_from(
    [Outcome(), Outcome("incomplete", "max_output_tokens"), Outcome("failed", None, {"code": "x"})]
)
AFTER = {
    "response.output_item.added": "response.created",
    "response.content_part.added": "response.output_item.added",
    "response.output_audio.delta": "response.content_part.added",
    "response.output_text.delta": "response.content_part.added",
    "response.output_audio.done": "response.content_part.added",
    "response.output_audio_transcript.done": "response.output_audio.done",
    "response.content_part.done": "response.content_part.added",
    "response.output_item.done": "response.output_item.added",
    "response.done": "response.created",
}


class Order(RuleBasedStateMachine):
    """A client that reads all events, and checks each when it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = make_machine()
        self.running: list[OpenResponse] = []
        self.calling: set[str] = set()
        self.seen: dict[str, list[str]] = {}
        self.open_parts: set[tuple[str, str]] = set()
        self.open_items: dict[str, str] = {}
        self.ids: set[str] = set()
        self.texts: dict[str, str] = {}
        self.items: list[str] = []
        self.sounds: list[SpokenSound] = []
        self.speaking = False
        self.said: SpeechSoFar | None = None
        self.read(self.machine.open())

    def take(self, step: Step) -> None:
        self.read(step.events)
        assert step.unheard_samples >= 0
        for sound in step.heard:
            assert self.said is not None
            assert len(sound.samples) >= self.said.until - self.said.start
        for effect in step.effects:
            if isinstance(effect, StartResponse):
                self.running.append(effect.response)
            elif isinstance(effect, StopResponse):
                self.running.remove(effect.response)

    def read(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            json.dumps(event)
            assert event["event_id"] not in self.ids
            self.ids.add(event["event_id"])
            self.read_one(event["type"], event)

    def read_one(self, kind: str, event: dict[str, Any]) -> None:
        if kind in ("conversation.item.added", "conversation.item.done", "input_audio_buffer.committed"):
            assert "previous_item_id" in event
        if kind == "conversation.item.added":
            self.items.append(event["item"]["id"])
        if not kind.startswith("response."):
            return
        response_id = event.get("response_id") or event["response"]["id"]
        seen = self.seen.setdefault(response_id, [])
        assert "response.done" not in seen
        if kind == "response.created":
            assert seen == []
        else:
            assert seen[0] == "response.created"
        if kind in AFTER:
            assert AFTER[kind] in seen
        seen.append(kind)
        self.read_place(kind, event, response_id)

    def read_place(self, kind: str, event: dict[str, Any], response_id: str) -> None:
        item_id = event.get("item_id") or event.get("item", {}).get("id", "")
        if kind == "response.output_item.added":
            assert response_id not in self.open_items
            self.open_items[response_id] = item_id
        elif kind == "response.output_item.done":
            assert self.open_items.pop(response_id) == item_id
            assert (response_id, item_id) not in self.open_parts
            assert event["item"]["status"] in ("completed", "incomplete")
        elif kind == "response.content_part.added":
            self.open_parts.add((response_id, item_id))
        elif kind == "response.content_part.done":
            self.open_parts.remove((response_id, item_id))
            assert event["part"].get("transcript", event["part"].get("text")) == self.texts.get(item_id, "")
        elif kind.endswith((".delta", "transcript.done", "text.done")):
            assert self.open_items[response_id] == item_id
            if kind in ("response.output_audio_transcript.delta", "response.output_text.delta"):
                self.texts[item_id] = self.texts.get(item_id, "") + event["delta"]
        elif kind == "response.done":
            assert response_id not in self.open_items
            assert event["response"]["status"] != "in_progress"

    def emit(self, response: OpenResponse, events: list[dict[str, Any]]) -> None:
        self.read(events)

    def pick(self, data: st.DataObject) -> OpenResponse:
        return data.draw(st.sampled_from(self.running))

    @rule(text=st.booleans(), beside=st.booleans())
    def create(self, text: bool, beside: bool) -> None:
        fields: dict[str, Any] = {"output_modalities": ["text" if text else "audio"]}
        if beside:
            fields |= {"conversation": "none", "input": [user_text("x")]}
        self.take(send(self.machine, "response.create", response=fields))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def write_text(self, data: st.DataObject) -> None:
        response = self.pick(data)
        if response.head.id not in self.calling:
            response.generated.add("word ", [len(response.generated.text)])
            self.emit(response, response.add_text("word "))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def write_audio(self, data: st.DataObject) -> None:
        response = self.pick(data)
        if response.head.speaks and response.head.id not in self.calling:
            response.sound.add(bytes(480))
            self.sounds.append(response.sound)
            share = data.draw(st.floats(0, 1))
            response.played = lambda: int(share * response.sound.samples)
            self.emit(response, response.add_audio("AAAA"))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def write_call(self, data: st.DataObject) -> None:
        response = self.pick(data)
        self.calling.add(response.head.id)
        self.emit(response, response.begin_call("call", "f"))
        self.emit(response, response.add_arguments("{}"))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=OUTCOMES)
    def finish(self, data: st.DataObject, outcome: Outcome) -> None:
        response = self.pick(data)
        self.running.remove(response)
        self.take(self.machine.end_response(response, outcome))
        assert self.machine.end_response(response, Outcome()).events == []

    @rule(named=st.booleans(), data=st.data())
    def cancel(self, named: bool, data: st.DataObject) -> None:
        ids = [response.head.id for response in self.running]
        chosen = {"response_id": data.draw(st.sampled_from([*ids, "resp_none"]))} if named else {}
        self.take(send(self.machine, "response.cancel", **chosen))

    @rule(frames=st.integers(1, 20))
    def append(self, frames: int) -> None:
        self.take(send(self.machine, "input_audio_buffer.append", audio=silence(32 * frames)))
        for _ in range(frames):
            self.take(self.machine.hear(0.9 if self.speaking else 0.0))

    @rule()
    def speak_or_stop(self) -> None:
        self.speaking = not self.speaking

    @rule(kind=st.sampled_from(["input_audio_buffer.commit", "input_audio_buffer.clear"]))
    def use_buffer(self, kind: str) -> None:
        self.take(send(self.machine, kind))

    @rule(first=st.booleans())
    def create_item(self, first: bool) -> None:
        place = {"previous_item_id": "root"} if first else {}
        self.take(send(self.machine, "conversation.item.create", item=user_text("x"), **place))

    @rule(action=st.sampled_from(["retrieve", "delete"]), data=st.data())
    def use_item(self, action: str, data: st.DataObject) -> None:
        item_id = data.draw(st.sampled_from([*self.items, "item_none"]))
        self.take(send(self.machine, f"conversation.item.{action}", item_id=item_id))

    @rule(data=st.data(), ms=st.integers(0, 50))
    def truncate(self, data: st.DataObject, ms: int) -> None:
        item_id = data.draw(st.sampled_from([*self.items, "item_none"]))
        fields = {"item_id": item_id, "content_index": 0, "audio_end_ms": ms}
        self.take(send(self.machine, "conversation.item.truncate", **fields))

    @rule(
        detection=st.sampled_from(
            [None, {"type": "semantic_vad"}, {"type": "server_vad", "interrupt_response": False}]
        )
    )
    def update(self, detection: dict[str, Any] | None) -> None:
        session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
        self.take(send(self.machine, "session.update", session=session))

    @invariant()
    def one_response_at_a_time(self) -> None:
        inside = [one for one in self.running if one.head.conversation_id is not None]
        assert len(inside) <= 1
        assert self.machine.responses.active is (inside[0] if inside else None)
        assert all(not one.has_ended for one in self.running)

    @invariant()
    def no_more_counts_as_heard_than_was_sent(self) -> None:
        assert all(0 <= sound.heard_samples <= sound.samples for sound in self.sounds)

    @invariant()
    def what_is_said_can_be_read_ahead_if_it_is_answered_at_once(self) -> None:
        turn = Message("said", "user", [TextPart("x")])
        plan = self.machine.plan_answer(turn)
        assert (plan is not None) == (self.machine.responses.active is None)
        if plan is not None:
            assert plan.items == (*self.machine.conversation.context, turn)
        speech = self.said = self.machine.speech
        if speech is not None:
            heard = self.machine.speech_samples(speech.start, speech.until)
            assert len(heard) == speech.until - speech.start

    @invariant()
    def tokens_of_past_answers_are_those_of_their_text(self) -> None:
        items = [*self.machine.conversation.context, Message("last", "user", [TextPart("x")])]
        read = read_items("", items, (), ClientJson(64, 1_000))
        for number, ids in read.generated.items():
            message = read.messages[number]
            assert message["role"] == "assistant"
            # Each word of the answers has one token, which is its place.
            assert list(ids) == list(range(0, 5 * len(ids), 5))
            assert message["content"].rstrip() == "word " * (len(ids) - 1) + "word"

    def teardown(self) -> None:
        for response in list(self.running):
            self.running.remove(response)
            self.take(self.machine.end_response(response, Outcome()))
        for response in list(self.running):
            self.running.remove(response)
            self.take(self.machine.end_response(response, Outcome()))
        assert all(seen.count("response.done") == 1 for seen in self.seen.values())
        assert not self.open_parts
        assert not self.open_items


TestOrder = Order.TestCase
TestOrder.settings = settings(max_examples=examples(60), stateful_step_count=40)
