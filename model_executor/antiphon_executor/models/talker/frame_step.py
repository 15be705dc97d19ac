"""The end of a Talker step, from `forward` to the frames that leave the worker and the logits that vLLM gets.

Codes go into the slots, frames to the sender, and to vLLM one-hot logits of code 0. No host sync and no
branch on device data. The logits do not wait for the sound.
"""

from __future__ import annotations

import torch

from antiphon_executor.ipc.frame_sender import FrameSender
from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step.frame_end import FrameEnd, FrameInputs, SpeechHead
from antiphon_executor.models.talker.step.frame_graphs import FrameGraphs
from antiphon_executor.models.talker.step.sound_order import InOrder, SoundOrder
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.streams import Streams


class FrameStep:
    """Keeps a step's slots and draws from `forward` to `compute_logits`, in fixed buffers (CUDA graphs).

    `rows`: the largest number of requests in a step. `graphs` are captured by vLLM's V2 runner, if at all.
    `order`: what `streams.pool` joins before it resets the vocoder. Default: everything in order.
    """

    def __init__(
        self,
        head: SpeechHead,
        streams: Streams,
        sender: FrameSender,
        rows: int,
        order: SoundOrder | None = None,
    ) -> None:
        self._order = order or InOrder()
        self._streams = streams
        self.pool = streams.pool
        self._sender = sender
        self._inputs = FrameInputs.padding(rows, self.pool)
        self.graphs = FrameGraphs(FrameEnd(head, self.pool), self._inputs)

    def begin(self, rows: StepRows | None) -> None:
        """Records the slot of each request and what it draws. None: a profiling run."""
        inputs = self._inputs
        if rows is None:
            inputs.slot.fill_(PADDING_SLOT)
            inputs.frame.fill_(-1)
            return
        n = rows.slot.shape[0]
        draws = self._streams.draws(rows)
        inputs.slot[:n] = rows.slot
        inputs.frame[:n] = draws.frame
        inputs.may_end[:n] = draws.may_end
        inputs.restarts[:n] = draws.restarts

    @torch.inference_mode()
    def finish(self, hidden: torch.Tensor) -> torch.Tensor:
        """`hidden`: [R, hidden], in request order → one-hot logits float32 [R, codec_vocab]."""
        n = hidden.shape[0]
        if n > self._inputs.slot.shape[0]:
            return hidden.new_zeros(n, self.pool.shape.codec_vocab, dtype=torch.float32)
        # The sound of the last step is made beside this step's backbone, and reads what is now drawn anew.
        self._order.join()
        made = self.graphs.run(hidden)
        self._order.run(lambda: self._sender.send(made.sound()))
        return made.logits
