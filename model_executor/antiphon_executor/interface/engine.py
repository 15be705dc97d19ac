"""The omni engine: all that the server knows of the Thinker and Talker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from prometheus_client.metrics_core import Metric

from antiphon_executor.interface.card import ModelCard
from antiphon_executor.interface.events import OmniEvent
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.interface.status import EngineStatus


class OmniEngine(Protocol):
    """All that the server knows of an engine."""

    @property
    def card(self) -> ModelCard: ...

    def generate(self, request: OmniRequest) -> AsyncIterator[OmniEvent]:
        """`PromptCounted` first, one `TextEnded` a choice, and one `SpeechEnded` if the turn speaks.

        Closing the iterator, or cancelling the task that reads it, aborts every stage at once.
        """
        ...

    def report_consumed(self, request_id: str, samples: int) -> None:
        """The client of a turn that runs has taken this much of its speech, all counted.

        The engine makes speech no further ahead of its client than its settings say. A turn of which this is
        never told has a client that takes everything at once. Unknown turns are ignored.
        """
        ...

    def status(self) -> EngineStatus: ...

    def metrics(self) -> Iterable[Metric]:
        """The engines' own Prometheus metrics, labelled by `stage`."""
        ...

    async def close(self) -> None: ...
