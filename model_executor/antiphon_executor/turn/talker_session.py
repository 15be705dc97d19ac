"""The interface between a speech stream and the Talker of any model family.

A family implements `Talker` and `SpeechSession`. The frames themselves arrive by the bridge.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from antiphon_executor.interface.errors import EngineError
from antiphon_executor.interface.events import FinishReason, SpeechEnded
from antiphon_executor.interface.request import MarkSink, SpeechSampling
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.models.talker.sampling import StreamSampling


@dataclass(frozen=True, slots=True)
class StreamHandle:
    """Identifies a stream: its request's id, the bridge's number for it, its slot in the worker.

    `live`, `on_mark`: as in `OmniRequest`.
    """

    request_id: str
    number: int
    slot: int
    live: bool = False
    on_mark: MarkSink | None = None


class SpeechSession(Protocol):
    """One spoken answer inside the Talker engine."""

    def add_text(self, token_ids: Sequence[int], *, final: bool) -> None:
        """Appends text tokens of the Thinker, in order. `final`: no more follow; the list may be empty."""
        ...

    async def generate_speech(self, prompt: HiddenStates) -> SpeechEnded:
        """Runs until the stream ends. Returns how it ended and its number of frames without EOS.

        An answer without text has no frames and never reaches the engine. Cancelling aborts it there.
        Raises `EngineBusy` if there is no room for its media, `InvalidRequest` if it cannot be spoken.
        """
        ...

    def consumed_tokens(self, frames: int) -> int:
        """How many of the added tokens the stream had consumed when its `frames`-th frame was sampled.

        Tokens that the family drops count together with their neighbours.
        """
        ...

    def close_input(self) -> None:
        """Stops all text. Called before `generate_speech` is cancelled, so no input follows the abort."""
        ...


class Talker(Protocol):
    """The Talker engine, as a factory of sessions."""

    def session(self, stream: StreamHandle, sampling: SpeechSampling) -> SpeechSession: ...

    def for_known_text(self) -> Talker:
        """For streams whose text is known at once: the engine's inputs are those of a chat, whose text comes
        later, and so is every rounding.
        """
        ...


def speech_ended(finish_reason: str | None, tokens: int) -> SpeechEnded:
    """The end of a stream. `finish_reason`: vLLM's; `tokens`: all sampled tokens including EOS."""
    reason: FinishReason
    match finish_reason:
        case "stop":
            reason = "stop"
        case "length":
            reason = "length"
        case _:
            raise EngineError("the engine ended the speech with an error")
    return SpeechEnded(reason, tokens - (reason == "stop"))


def stream_sampling(
    sampling: SpeechSampling, *, predictor_temperature: float, predictor_top_p: float
) -> StreamSampling:
    """Sampling parameters for the worker, with a random seed if the request has none.

    `predictor_temperature`, `predictor_top_p`: the family's defaults.
    """
    seed = sampling.seed if sampling.seed is not None else secrets.randbits(62)
    asked_temperature, asked_top_p = sampling.predictor_temperature, sampling.predictor_top_p
    return StreamSampling(
        seed=seed,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        predictor_temperature=predictor_temperature if asked_temperature is None else asked_temperature,
        predictor_top_k=sampling.predictor_top_k,
        predictor_top_p=predictor_top_p if asked_top_p is None else asked_top_p,
    )
