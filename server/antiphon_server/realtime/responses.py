"""The responses of one connection: one in the conversation at a time, and some beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.realtime.client_events import ResponseParams
from antiphon_server.openai_api.realtime.items import ItemReference
from antiphon_server.realtime.client_items import ItemReader
from antiphon_server.realtime.conversation import Conversation
from antiphon_server.realtime.effects import ResponsePlan, StartResponse, Step, StopResponse
from antiphon_server.realtime.event_writer import EventWriter
from antiphon_server.realtime.items import Item
from antiphon_server.realtime.open_response import OpenResponse, Outcome, ResponseHead
from antiphon_server.realtime.session_state import SessionState

_MOST_BESIDE = 4


class Responses:
    """A turn that ends while the conversation's response runs waits for its end."""

    def __init__(self, state: SessionState, conversation: Conversation, writer: EventWriter) -> None:
        self._state = state
        self._conversation = conversation
        self._writer = writer
        self._beside: dict[str, OpenResponse] = {}
        self._turn_waits = False
        # The last one in the conversation that has ended: its client may still play it.
        self._ended: OpenResponse | None = None
        self.active: OpenResponse | None = None
        self.has_spoken = False

    def __iter__(self) -> Iterator[OpenResponse]:
        if self.active is not None:
            yield self.active
        yield from self._beside.values()

    def create(self, params: ResponseParams, reader: ItemReader) -> Step:
        """Raises BadRequest."""
        if params.conversation == "none":
            if len(self._beside) >= _MOST_BESIDE:
                message = (
                    f"{_MOST_BESIDE} responses beside the conversation are in progress, which is the limit."
                )
                raise BadRequest(message, code="too_many_responses")
        elif self.active is not None:
            raise BadRequest(
                f"Conversation already has an active response in progress: {self.active.head.id}. "
                "Wait until the response is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )
        return self._start(params, self._read_input(params, reader))

    def answer_turn(self) -> Step:
        """A turn of the user has ended."""
        if self.active is not None:
            self._turn_waits = True
            return Step()
        return self._start(ResponseParams(), None)

    def plan_answer(self, item: Item) -> ResponsePlan | None:
        """What the model would be asked for if `item` were the user's turn; None while a response runs."""
        if self.active is not None:
            return None
        plan = self._plan(ResponseParams(), None)
        return replace(plan, items=(*plan.items, item))

    def cancel(self, response_id: str | None) -> Step:
        """Raises BadRequest if no such response runs."""
        response = self.active
        if response_id is not None:
            response = next((one for one in self if one.head.id == response_id), None)
        if response is None:
            raise BadRequest(
                "Cancellation failed: no active response found", code="response_cancel_not_active"
            )
        return self._stop(response, "client_cancelled")

    def interrupt(self) -> Step:
        """The user speaks into the conversation's response. A turn that waits is answered with this one."""
        step = Step()
        if self._ended is not None:
            step.unheard_samples = self._ended.sound.cut(self._ended.played())
            self._ended = None
        if self.active is not None:
            self._turn_waits = False
            step.add(self._stop(self.active, "turn_detected"))
        return step

    def end(self, response: OpenResponse, outcome: Outcome) -> Step:
        """The model has ended a response, or failed."""
        if response.has_ended:
            return Step()
        return self._close(response, outcome)

    def _stop(self, response: OpenResponse, reason: str) -> Step:
        unheard = response.sound.cut(response.played())
        step = Step(effects=[StopResponse(response)], unheard_samples=unheard)
        step.add(self._close(response, Outcome("cancelled", reason)))
        return step

    def _close(self, response: OpenResponse, outcome: Outcome) -> Step:
        step = Step(response.end(outcome))
        self.has_spoken = self.has_spoken or response.sound.samples > 0
        if response is self.active:
            self.active = None
            self._ended = None if outcome.status == "cancelled" else response
        else:
            self._beside.pop(response.head.id, None)
        if self._turn_waits and self.active is None:
            self._turn_waits = False
            step.add(self._start(ResponseParams(), None))
        return step

    def _start(self, params: ResponseParams, items: list[Item] | None) -> Step:
        is_default = params.conversation == "auto"
        plan = self._plan(params, items)
        head = ResponseHead(
            id=self._writer.make_id("resp"),
            speaks=plan.speaks,
            conversation_id=self._conversation.id if is_default else None,
            metadata=params.metadata,
            shown=_shown(plan),
        )
        response = OpenResponse(head, self._writer, self._conversation if is_default else None)
        if is_default:
            self.active = response
        else:
            self._beside[head.id] = response
        return Step(response.begin(), [StartResponse(response, plan)])

    def _plan(self, params: ResponseParams, items: list[Item] | None) -> ResponsePlan:
        session, asked = self._state.session, params.audio.output
        output = session.audio.output
        limit = params.max_output_tokens
        return ResponsePlan(
            items=tuple(self._conversation.context if items is None else items),
            instructions=session.instructions if params.instructions is None else params.instructions,
            speaks=(params.output_modalities or session.output_modalities) == ("audio",),
            voice=output.voice if asked.voice is None else asked.voice,
            output_format=asked.format or output.format,
            tools=session.tools if params.tools is None else params.tools,
            tool_choice=session.tool_choice if params.tool_choice is None else params.tool_choice,
            max_output_tokens=session.max_output_tokens if limit is None else limit,
            truncation=session.truncation,
            is_default=items is None,
        )

    def _read_input(self, params: ResponseParams, reader: ItemReader) -> list[Item] | None:
        if params.input is None:
            return None
        read: list[Item] = []
        for number, item in enumerate(params.input):
            name = f"response.input[{number}]"
            if not isinstance(item, ItemReference):
                read.append(reader.read(item, name))
                continue
            found = self._conversation.find(item.id)
            if found is None:
                raise BadRequest(f"Item with item_id not found: {item.id}", param=name, code="item_not_found")
            read.append(found)
        return read


def _shown(plan: ResponsePlan) -> dict[str, object]:
    voice = plan.voice if isinstance(plan.voice, str) or plan.voice is None else plan.voice.id
    audio = {"output": {"format": plan.output_format.model_dump(mode="json"), "voice": voice}}
    return {
        "output_modalities": ["audio" if plan.speaks else "text"],
        "max_output_tokens": plan.max_output_tokens,
        "audio": audio,
    }
