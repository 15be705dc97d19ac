"""A Thinker engine under test, with the bridge's end of its hidden-states socket.

One engine serves many tests, because starting one takes half a minute.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import zmq
import zmq.asyncio
from numpy.typing import NDArray
from transformers import AutoConfig, AutoProcessor, AutoTokenizer
from vllm import SamplingParams
from vllm.v1.engine.async_llm import AsyncLLM

from antiphon_executor.checkpoint.processor_geometry import media_geometry_of
from antiphon_executor.interface.media import Media
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.interface.settings import DType, EngineSettings, ThinkerSettings
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.models.hidden_states.connector import request_hidden_states
from antiphon_executor.models.layers.packed_mrope import unpack
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.stages.thinker_args import thinker_engine_args
from tests.parity.ending import engine_processes
from tests.warm_start import warm_start

ROWS_TIMEOUT_S = 20
LOGPROBS = 5


@dataclass(frozen=True)
class Rows:
    """A `HiddenStates` with its bytes read."""

    prompt_token_ids: list[int]
    positions: NDArray[np.float64]
    row_index: NDArray[np.int32]
    rows: NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    prompt_token_ids: list[int]
    answer: list[int]
    cached: int
    rows: Rows
    logprobs: list[dict[int, float]]


def read(message: HiddenStates) -> Rows:
    dtype = getattr(torch, message.dtype)
    rows = torch.frombuffer(bytearray(message.rows), dtype=dtype) if message.rows else torch.zeros(0)
    ids = np.frombuffer(message.prompt_token_ids, np.int32)
    return Rows(
        prompt_token_ids=ids.tolist(),
        positions=unpack(np.frombuffer(message.positions, np.int32).reshape(3, -1)),
        row_index=np.frombuffer(message.row_index, np.int32),
        rows=rows.float().reshape(-1, message.hidden_size).numpy(),
    )


class RunningThinker:
    def __init__(self, engine: AsyncLLM, socket: Any, checkpoint: Path) -> None:
        self.engine = engine
        config = AutoConfig.from_pretrained(checkpoint)
        self.tokens = PromptIds.of(config)
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.geometry = media_geometry_of(
            config,
            AutoProcessor.from_pretrained(checkpoint),
            partial(self.tokenizer.encode, add_special_tokens=False),
        )
        self._socket = socket
        self._arrived: dict[str, asyncio.Future[Rows]] = {}
        self.received: list[str] = []
        self._reader = asyncio.create_task(self._read())
        self._serial = 0

    def turn(self, prompt: str | list[int], media: Media, salt: str | None = None) -> OmniRequest:
        """`salt` separates caches within one test, also if it is repeated."""
        salt = salt and f"{os.environ['PYTEST_CURRENT_TEST']} {salt}"
        ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        self._serial += 1
        return OmniRequest(f"turn-{self._serial}", tuple(ids), media, cache_salt=salt)

    async def answer(self, turn: OmniRequest, tokens: int) -> Answer:
        """Greedy, without an end: exactly `tokens` tokens."""
        arrived = self._arrived[turn.request_id] = asyncio.get_running_loop().create_future()
        *_, last = [output async for output in self.stream(turn, tokens)]
        rows = await asyncio.wait_for(arrived, ROWS_TIMEOUT_S)
        said = last.outputs[0]
        logprobs = [{token: each.logprob for token, each in step.items()} for step in said.logprobs or ()]
        return Answer(
            list(last.prompt_token_ids), list(said.token_ids), last.num_cached_tokens or 0, rows, logprobs
        )

    def stream(self, turn: OmniRequest, tokens: int) -> AsyncIterator[Any]:
        sampling = SamplingParams(
            temperature=0,
            max_tokens=tokens,
            ignore_eos=True,
            logprobs=LOGPROBS,
            extra_args=request_hidden_states(turn.request_id),
        )
        return self.engine.generate(
            engine_prompt(turn, self.tokens, self.geometry), sampling, turn.request_id
        )

    async def _read(self) -> None:
        while True:
            message = msgspec.msgpack.decode(await self._socket.recv(), type=HiddenStates)
            self.received.append(message.request_id)
            waiting = self._arrived.pop(message.request_id, None)
            if waiting is not None:
                waiting.set_result(read(message))

    async def close(self) -> None:
        self._reader.cancel()
        self.engine.shutdown()


@asynccontextmanager
async def running_thinker(
    checkpoint: Path, folder: Path, dtype: DType = "float32", **thinker: Any
) -> AsyncIterator[RunningThinker]:
    """`thinker`: `ThinkerSettings`. `folder`: a private one, for the socket."""
    endpoint = f"ipc://{folder}/rows"
    settings = EngineSettings(model=checkpoint, thinker=ThinkerSettings(dtype=dtype, **thinker))
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.PULL)
    socket.bind(endpoint)
    with warm_start(), engine_processes() as processes:
        llm = AsyncLLM.from_engine_args(thinker_engine_args(settings, endpoint))
    running = RunningThinker(llm, socket, checkpoint)
    try:
        yield running
    finally:
        processes.kill()
        await running.close()
        socket.close(0)
        context.term()
