"""Sends hidden states from the Thinker's worker to the bridge, in a thread of its own.

The engine's step never waits for the copy, the encoding or the bridge. Hidden states that cannot be sent fail
their own request; if the thread dies, the engine's next step raises.
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
    """Hidden states that are being copied to the host. `copied`: the event to wait for; None: none.

    Arrays are as in `messages.HiddenStates`.
    """

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
        """Starts the copy of `rows` [num_rows, hidden]; rows on a GPU go to pinned memory."""
        copied = None
        if rows.is_cuda:
            host = torch.empty_like(rows, device="cpu", pin_memory=True)
            host.copy_(rows, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
            rows = host
        return cls(request_id, prompt_token_ids, positions, row_index, rows, copied)

    def message(self) -> HiddenStates:
        """The message to send; waits for the copy."""
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
    """Owns the PUSH socket and the thread. `close` sends what is queued, then ends both."""

    def __init__(self, endpoint: str) -> None:
        self.dropped = DroppedMessages("hidden states sent")
        self._death: Exception | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._queue: queue.SimpleQueue[PendingHiddenStates | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(endpoint,), name="hidden-states", daemon=True)
        self._thread.start()

    def send(self, pending: PendingHiddenStates) -> None:
        self._queue.put(pending)

    def check(self) -> None:
        """Called once per step. Raises `RuntimeError` if the thread has died."""
        if self._death is not None:
            raise RuntimeError("the thread that sends hidden states has died") from self._death

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self, endpoint: str) -> None:
        try:
            with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
                socket.set(zmq.LINGER, _LINGER_MS)
                socket.set(zmq.SNDHWM, 0)
                socket.connect(endpoint)
                while (pending := self._queue.get()) is not None:
                    socket.send(self._packed(pending), copy=False)
        except Exception as error:
            _log.exception("the thread that sends hidden states has died")
            self._death = error

    def _packed(self, pending: PendingHiddenStates) -> bytes:
        try:
            return self._encoder.encode(pending.message())
        # An error in one request's hidden states must not stop the others.
        except Exception as error:
            self.dropped.add(error)
            return self._encoder.encode(HiddenStatesFailed(pending.request_id))
