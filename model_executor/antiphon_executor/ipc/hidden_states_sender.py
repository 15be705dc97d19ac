"""Carries gathered rows from the worker to the bridge, in a thread of its own.

In: rows on the engine's device. Out: `messages.HiddenStates` on a ZeroMQ PUSH socket.
The engine's step never waits for the copy, for the encoding or for the bridge. Rows that cannot be sent fail
their own request; a thread that has died fails the engine's next step.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
import zmq
from numpy.typing import NDArray

from antiphon_executor.ipc.dropped_messages import DroppedMessages
from antiphon_executor.ipc.messages import HiddenStates, HiddenStatesFailed

_LINGER_MS = 1_000

_log = logging.getLogger("antiphon.engine")


@dataclass(frozen=True, slots=True)
class PendingHiddenStates:
    """Rows on their way to the host: readable once `copied` has happened (None: at once)."""

    request_id: str
    prompt_token_ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    row_index: NDArray[np.int32]
    rows: torch.Tensor
    copied: torch.cuda.Event | None

    @classmethod
    def start(
        cls,
        request_id: str,
        prompt_token_ids: NDArray[np.int32],
        positions: NDArray[np.int32],
        row_index: NDArray[np.int32],
        rows: torch.Tensor,
    ) -> PendingHiddenStates:
        """Start the copy of `rows`, [num_rows, hidden], to pinned memory where they are on a GPU."""
        copied = None
        if rows.is_cuda:
            host = torch.empty_like(rows, device="cpu", pin_memory=True)
            host.copy_(rows, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
            rows = host
        return cls(request_id, prompt_token_ids, positions, row_index, rows, copied)

    def message(self) -> HiddenStates:
        """Waits for the copy."""
        if self.copied is not None:
            self.copied.synchronize()
        return HiddenStates(
            request_id=self.request_id,
            prompt_token_ids=self.prompt_token_ids.tobytes(),
            positions=self.positions.tobytes(),
            row_index=self.row_index.tobytes(),
            rows=self.rows.contiguous().view(torch.uint8).numpy().tobytes(),
            hidden_size=self.rows.shape[1],
            dtype=str(self.rows.dtype).removeprefix("torch."),
        )


class HiddenStatesSender:
    """Owns the socket and the thread. `close` sends what is queued, then ends both."""

    def __init__(self, endpoint: str) -> None:
        self.dropped = DroppedMessages("media rows sent")
        self._death: Exception | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._queue: queue.SimpleQueue[PendingHiddenStates | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(endpoint,), name="media-rows", daemon=True)
        self._thread.start()

    def send(self, gathered: PendingHiddenStates) -> None:
        self._queue.put(gathered)

    def check(self) -> None:
        """Once a step. Raises `RuntimeError` where nothing that is queued will ever be sent."""
        if self._death is not None:
            raise RuntimeError("the sender of the media rows has died") from self._death

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self, endpoint: str) -> None:
        try:
            with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
                socket.set(zmq.LINGER, _LINGER_MS)
                socket.set(zmq.SNDHWM, 0)
                socket.connect(endpoint)
                while (gathered := self._queue.get()) is not None:
                    socket.send(self._packed(gathered), copy=False)
        except Exception as error:
            _log.exception("the sender of the media rows has died")
            self._death = error

    def _packed(self, gathered: PendingHiddenStates) -> bytes:
        try:
            return self._encoder.encode(gathered.message())
        # Whatever is wrong with these rows, the next request's may be right.
        except Exception as error:
            self.dropped.add(error)
            return self._encoder.encode(HiddenStatesFailed(gathered.request_id))
