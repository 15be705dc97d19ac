"""Sends frames from the Talker's worker to the bridge: one message a step, with a part for each stream.

On a GPU the copy to the host is asynchronous and a thread sends, so the model never waits. A frame that
cannot be sent fails its own stream; if the thread dies, the engine's next step raises.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass, fields

import msgspec
import torch
import zmq

from antiphon_executor.ipc.dropped_messages import DroppedMessages
from antiphon_executor.ipc.messages import SpeechFrames, StreamFailed

_log = logging.getLogger("antiphon.engine")


@dataclass(frozen=True, slots=True)
class StepFrames:
    """The frames of one step, one row per request.

    `stream` int64 [R] (-1: nothing to send); `frame` int64 [R], or `FAILED`; `ended` bool [R]; `codes` int16
    [R, groups]; `pcm` int16 [R, samples_per_frame], 24 kHz.
    """

    stream: torch.Tensor
    frame: torch.Tensor
    ended: torch.Tensor
    codes: torch.Tensor
    pcm: torch.Tensor

    def first(self, rows: int) -> StepFrames:
        """Views of the first rows."""
        return StepFrames(*(getattr(self, field.name)[:rows] for field in fields(self)))

    def packed(self) -> torch.Tensor:
        """All fields in one tensor, int16 [R, width], so that one copy brings them to the host."""
        numbers = torch.stack((self.stream, self.frame), dim=1).view(torch.int16)
        return torch.cat((numbers, self.ended.to(torch.int16).unsqueeze(1), self.codes, self.pcm), dim=1)

    @classmethod
    def unpacked(cls, packed: torch.Tensor, groups: int) -> StepFrames:
        """What was packed, with codes and sound as views."""
        numbers, ended, codes, pcm = packed.split(
            (_NUMBERS, 1, groups, packed.shape[1] - _NUMBERS - 1 - groups), dim=1
        )
        stream, frame = numbers.contiguous().view(torch.int64).unbind(1)
        return cls(stream, frame, ended.squeeze(1).bool(), codes, pcm)


# In place of a frame's index: the frame could not be made.
FAILED = -1
# Two int64, as int16.
_NUMBERS = 8
_Queued = tuple[torch.cuda.Event, torch.Tensor, int] | StreamFailed


class FrameSender:
    """Owns the PUSH socket. `skip_samples`: samples to drop at the beginning of a stream's first frame."""

    def __init__(self, address: str, *, skip_samples: int, device: torch.device) -> None:
        self._skip = skip_samples
        self._cuda = device.type == "cuda"
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.connect(address)
        self._encoder = msgspec.msgpack.Encoder()
        self.dropped = DroppedMessages("frames sent")
        self._death: Exception | None = None
        self._steps: queue.SimpleQueue[_Queued] = queue.SimpleQueue()
        if self._cuda:
            threading.Thread(target=self._run, name="frame-sender", daemon=True).start()

    def send(self, step: StepFrames) -> None:
        """Sends a step's frames, on a GPU as soon as the step's kernels are done.

        Raises `RuntimeError` if the sending thread has died.
        """
        if self._death is not None:
            raise RuntimeError("the thread that sends frames has died") from self._death
        if not self._cuda:
            self._push(step)
            return
        # On the caller's stream, which is the one that made the sound.
        packed = step.packed()
        host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
        host.copy_(packed, non_blocking=True)
        # The thread sleeps until the copy is done; by default it would spin, and hold a core.
        event = torch.cuda.Event(blocking=True)
        event.record()
        self._steps.put((event, host, step.codes.shape[1]))

    def close(self) -> None:
        """Closes the socket; an open socket would keep the process alive."""
        self._socket.close()

    def fail(self, stream: int) -> None:
        """Reports that the stream cannot be completed."""
        failed = StreamFailed(stream)
        if self._cuda:
            self._steps.put(failed)
        else:
            self._socket.send(self._encoder.encode(failed))

    def _run(self) -> None:
        try:
            while True:
                queued = self._steps.get()
                if isinstance(queued, StreamFailed):
                    self._socket.send(self._encoder.encode(queued))
                    continue
                event, host, groups = queued
                event.synchronize()
                self._push(StepFrames.unpacked(host, groups))
        except Exception as error:
            _log.exception("the thread that sends frames has died")
            self._death = error

    def _push(self, step: StepFrames) -> None:
        streams, frames = step.stream.tolist(), step.frame.tolist()
        ended = step.ended.tolist()
        parts = [
            self._packed(step, row, stream, frames[row], ended[row])
            for row, stream in enumerate(streams)
            if stream >= 0
        ]
        if parts:
            self._socket.send_multipart(parts)

    def _packed(self, step: StepFrames, row: int, stream: int, frame: int, ended: bool) -> bytes:
        try:
            return self._encoder.encode(self._message(step, row, stream, frame, ended))
        # An error in one stream's frame must not stop the others.
        except Exception as error:
            self.dropped.add(error)
            return self._encoder.encode(StreamFailed(stream))

    def _message(
        self, step: StepFrames, row: int, stream: int, frame: int, ended: bool
    ) -> SpeechFrames | StreamFailed:
        if frame == FAILED:
            return StreamFailed(stream)
        if ended:
            return SpeechFrames(stream, frame, b"", b"", ended=True)
        pcm = step.pcm[row, self._skip if frame == 0 else 0 :]
        return SpeechFrames(
            stream, frame, step.codes[row].numpy().tobytes(), pcm.numpy().tobytes(), ended=False
        )
