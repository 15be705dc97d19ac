"""Stage C of the acceptance script: the end of a step as the product captures it, and its sound.

The buckets are those that vLLM's V2 runner captures. On a GPU the sound is made in order and on a stream of
its own; the frames must be the same, and with a backbone the step shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from antiphon_executor.models.talker.step.frame_graphs import cuda_capture
from antiphon_executor.models.talker.step.sound_order import VocoderStream, sound_order
from tests.gpu.measure import relative_error, timed
from tests.gpu.released_step import GROUPS, HIDDEN, ReleasedStep
from tests.gpu.table import Given, Row

ORDERS: tuple[VocoderStream, ...] = ("main", "own")
FRAMES = 8
# Of the Talker's backbone a step reads about as many weights: 0.8 GB.
BACKBONE_COLUMNS = 400_000


def stage_c(given: Given) -> list[Row]:
    """The end of a step, eager and in graphs; the vocoder's sound in bfloat16 against float32."""
    device, batches = given.device, given.batches
    on_gpu = device.type == "cuda"
    rows: list[Row] = []
    frames: list[list[Tensor]] = []
    for order in ORDERS:
        step = ReleasedStep(max(batches), device, torch.bfloat16, sound_order(device, order))
        if on_gpu:
            step.step.graphs.capture(max(batches), cuda_capture)
        # First of all, because what was drawn before changes what is drawn.
        frames.append(_frames(step, batches))
        if on_gpu:
            rows += _captured(step, batches, order)
    step.step.graphs.release()
    rows += _eager(step, batches)
    differ = float(sum(not torch.equal(*pair) for pair in zip(*frames, strict=True)))
    what = "steps whose frames differ between the streams"
    rows.append(Row("C", what, max(batches), "bfloat16", 0.0, differ, "none", differ == 0))
    return [*rows, _sound(device)]


def _eager(step: ReleasedStep, batches: Sequence[int]) -> list[Row]:
    return [
        Row(
            "C",
            "finish, eager",
            batch,
            "bfloat16",
            timed(_finish(step, batch), step.device),
            0.0,
            "slow",
            True,
        )
        for batch in batches
    ]


def _captured(step: ReleasedStep, batches: Sequence[int], order: VocoderStream) -> list[Row]:
    """Alone, and behind a product that reads as much as the backbone, beside which sound may be made."""
    rows = []
    backbone = torch.randn(HIDDEN, BACKBONE_COLUMNS, device=step.device).to(torch.bfloat16)
    for batch in batches:
        finish = _finish(step, batch)
        hidden = step.hidden(batch)

        def whole(finish: Callable[[], object] = finish, hidden: Tensor = hidden) -> None:
            torch.mm(hidden, backbone)
            finish()

        bound = 5_000.0 if batch <= 8 else 8_000.0
        for what, run in (("finish", finish), ("backbone's reads and finish", whole)):
            micros = timed(run, step.device)
            rows.append(
                Row(
                    "C",
                    f"{what}, graphs, vocoder on stream {order}",
                    batch,
                    "bfloat16",
                    micros,
                    0.0,
                    f"<= {bound:.0f} us",
                    micros <= bound,
                )
            )
    return rows


def _finish(step: ReleasedStep, batch: int) -> Callable[[], object]:
    step.begin(batch)
    return partial(step.step.finish, step.hidden(batch))


def _frames(step: ReleasedStep, batches: Sequence[int]) -> list[Tensor]:
    """What is sent of some steps of each batch, whose streams go on where the last batch has ended."""
    torch.manual_seed(1)
    sent, frame = [], 0
    for batch in sorted(batches, reverse=True):
        for _ in range(FRAMES):
            frame += 1
            step.begin(batch, frame)
            step.step.finish(step.hidden(batch))
            assert step.sent.packed is not None
            if step.device.type == "cuda":
                torch.cuda.synchronize()
            sent.append(step.sent.packed)
    return sent


def _sound(device: torch.device) -> Row:
    """Sixteen frames of the same random vocoder in both formats: relative error of the samples."""
    exact, rounded = (ReleasedStep(2, device, dtype).vocoder for dtype in (torch.float32, torch.bfloat16))
    rounded.load_state_dict({name: value.bfloat16() for name, value in exact.state_dict().items()})
    codes = torch.randint(0, 2_048, (2, 16, GROUPS), device=device)
    slots = torch.tensor([1, 2], device=device)
    waves = [
        torch.cat([vocoder(frame, slots) for frame in codes.split(1, dim=1)], dim=1)
        for vocoder in (exact, rounded)
    ]
    error = relative_error(waves[1], waves[0])
    return Row("C", "sound in bfloat16", 2, "bfloat16", 0.0, error, "error <= 0.05", error <= 0.05)
