"""What a spoken answer needs of the Talker, whichever family it is of.

In: the Thinker's prompt, then its text as it comes. Out: how many frames belong to the answer; the frames
themselves leave the worker by the bridge. A family differs in its `Talker` and in nothing else here.
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
class StreamPlace:
    """Where a stream lives: the turn's id, the bridge's number for it, its slot in the worker.

    `live`: somebody listens while it is made. `on_mark`: of the turn.
    """

    request_id: str
    number: int
    slot: int
    live: bool = False
    on_mark: MarkSink | None = None


class SpeechSession(Protocol):
    """One answer inside the Talker's engine."""

    def feed(self, token_ids: Sequence[int], *, final: bool) -> None:
        """More of the Thinker's text, in order; `final` with the last of it, which may be none."""
        ...

    async def speak(self, prompt: HiddenStates) -> SpeechEnded:
        """Runs to the end of the stream: how it ended, and how many frames it has, EOS left out.

        An answer without text has none, and never reaches the engine. Cancelling aborts it there.
        Raises `EngineBusy` without room for its media, `InvalidRequest` where the prompt cannot be spoken.
        """
        ...

    def text_tokens(self, frames: int) -> int:
        """How many of the tokens fed the stream had taken in when its `frames`-th frame was drawn.

        Tokens that the family drops count with those around them.
        """
        ...

    def close(self) -> None:
        """No text enters any more. Comes before `speak` is cancelled, so that nothing follows the abort."""
        ...


class Talker(Protocol):
    """The Talker's engine, to whoever opens streams in it."""

    def session(self, place: StreamPlace, sampling: SpeechSampling) -> SpeechSession: ...


def ended(finish_reason: str | None, tokens: int) -> SpeechEnded:
    """The end of a stream, of the engine's last word on it and the tokens that it has drawn, EOS included."""
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
    """The worker's parameters of a stream; a seed is drawn where the client gave none.

    The predictor's are the family's own, where the request leaves them open.
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
