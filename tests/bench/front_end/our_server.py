"""`antiphon serve` over `ScheduledOutputs` in place of the Thinker, as a process: CHECKPOINT STEP_S PORT."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

from prometheus_client.metrics_core import Metric
from tests.bench.front_end.scheduled_outputs import ScheduledOutputs
from tests.echo_engine import echo_card
from vllm import RequestOutput, SamplingParams

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.interface.card import ModelCard
from antiphon_executor.interface.engine import ReadAhead, VideoReadAhead
from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.media import SampleWriter, VideoClip
from antiphon_executor.interface.request import OmniRequest, ReadingRequest
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.interface.status import EngineStatus
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.turn.request_context import RequestContext
from antiphon_executor.turn.request_run import RequestRun
from antiphon_executor.turn.slots import SlotTracker
from antiphon_server.config.sources import load
from antiphon_server.process.preflight import listen
from antiphon_server.process.serve import run

STREAMS = 2_048
SETTINGS = {
    "engine.speech": False,
    "engine.thinker.max_num_seqs": STREAMS,
    "server.limits.connections_per_address": STREAMS,
    "logs.level": "warning",
}


class ScheduledEngine:
    """An `OmniEngine` that answers in text: `RequestRun` as in production, without vLLM under it."""

    def __init__(self, checkpoint: Path, step_s: float) -> None:
        self.card: ModelCard = echo_card(checkpoint, speaks=False)
        self._outputs = ScheduledOutputs(step_s)
        self._context = RequestContext(
            generate_text=self._generate_text,
            decode=lambda ids: "",
            ids=PromptIds.of(read_config(checkpoint)),
            thinker_eos=frozenset(),
            talker=None,
            bridge=cast("Any", None),
            slots=SlotTracker(0, 0),
        )

    def generate(self, request: OmniRequest) -> EventStream:
        return EventStream(partial(self._produce, request))

    def read_aloud(self, request: ReadingRequest) -> EventStream:
        raise NotImplementedError

    async def _produce(self, request: OmniRequest, events: EventStream) -> None:
        await RequestRun(self._context, request).run(events)

    def _generate_text(
        self, prompt: Any, params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        return self._outputs.generate(prompt["prompt_token_ids"], params, request_id)

    def clip_writer(self, window_s: int | None = None, folder: Path | None = None) -> SampleWriter:
        return SampleWriter()

    def read_ahead(self, request: OmniRequest, key: str, folder: Path | None = None) -> ReadAhead:
        raise NotImplementedError

    def read_video_ahead(
        self, request: OmniRequest, key: str, video: VideoClip, samples: int, folder: Path | None = None
    ) -> VideoReadAhead:
        raise NotImplementedError

    def report_consumed(self, request_id: str, samples: int) -> None:
        pass

    def status(self) -> EngineStatus:
        return EngineStatus({"thinker": True}, 0, 0, 0, 0)

    def metrics(self) -> Iterable[Metric]:
        return ()

    async def close(self) -> None:
        pass


def main(checkpoint: Path, step_s: float, port: int) -> int:
    async def start(_: EngineSettings, progress: Callable[[str], None]) -> ScheduledEngine:
        return ScheduledEngine(checkpoint, step_s)

    given = {"engine.model": checkpoint, "server.port": port, **SETTINGS}
    settings = load(given).settings
    with listen(settings.server.host, port, settings.server.timeouts.stalled_client_s) as sock:
        return run(settings, sock, start)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
