"""The first run on a GPU, in stages that are independent: `python -m tests.gpu.acceptance A B C --json FILE`.

A: every Triton kernel against its reference. B: the code predictor, eager, speculative and as one CUDA graph.
C: the end of a step in the graphs that vLLM's runner captures, and its sound. D: the Talker's engine. E: a
whole server.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from antiphon_executor.models.talker.sampling import ResidualDraw
from antiphon_executor.models.talker.step.frame_graphs import cuda_capture
from tests.gpu.kernel_cases import kernel_cases
from tests.gpu.measure import relative_error, timed
from tests.gpu.released_step import GROUPS, ReleasedStep
from tests.gpu.step_stage import stage_c
from tests.gpu.table import Given, Row, Stage, failed, head, line

BATCHES = (1, 8, 64)
SPECULATIVE = 2
# Relative errors of sums of about a thousand products.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2}


def stage_a(given: Given) -> list[Row]:
    """Each kernel at the released sizes against its reference, on the same device."""
    device, batches = given.device, given.batches
    rows: list[Row] = []
    for dtype in (torch.float32, torch.bfloat16):
        for batch in batches:
            for name, own, reference in kernel_cases(batch, dtype, device):
                error = relative_error(own(), reference())
                bound = 0.0 if name == "draw" else TOLERANCE[dtype]
                expected = "the same codes" if name == "draw" else f"error <= {bound:g}"
                rows.append(
                    Row("A", name, batch, str(dtype), timed(own, device), error, expected, error <= bound)
                )
    return rows


def stage_b(given: Given) -> list[Row]:
    """The predictor by batch: eager, speculative, and as one graph, which must draw the same codes."""
    device, batches = given.device, given.batches
    step = ReleasedStep(max(batches), device, torch.bfloat16)
    rows: list[Row] = []
    capture = cuda_capture() if device.type == "cuda" else None
    for batch in batches:
        hidden, embedded = step.hidden(batch), step.hidden(batch)
        slot = torch.arange(1, batch + 1, device=device)
        sampling = step.step.pool.sampling.rows(slot, torch.zeros_like(slot))
        drawing = ResidualDraw(sampling, GROUPS)

        def run(
            hidden: Tensor = hidden, embedded: Tensor = embedded, drawing: ResidualDraw = drawing
        ) -> Tensor:
            return step.predictor(hidden, embedded, drawing)

        eager = run()
        rows.append(Row("B", "predictor, eager", batch, "bfloat16", timed(run, device), 0.0, "slow", True))
        rows.append(_speculated(step, run, eager, batch))
        if capture is not None:
            captured = capture(run)
            captured.replay()
            error = float((captured.outputs != eager).sum())
            expected = "the same codes; c=1: about 2 ms, floor 560 us"
            rows.append(
                Row(
                    "B",
                    "predictor, graph",
                    batch,
                    "bfloat16",
                    timed(captured.replay, device),
                    error,
                    expected,
                    error == 0,
                )
            )
    return rows


def _speculated(step: ReleasedStep, run: Callable[[], Tensor], plain: Tensor, batch: int) -> Row:
    """Products of more rows round differently, so that a draw between equals may differ."""
    step.predictor.window = SPECULATIVE
    differ = float((run() != plain).any(dim=1).float().mean())
    micros = timed(run, plain.device)
    step.predictor.window = 1
    what, expected = f"predictor, window {SPECULATIVE}", "at most 1 frame in 50 differs"
    return Row("B", what, batch, "bfloat16", micros, differ, expected, differ <= 0.02)


def stage_d(given: Given) -> list[Row]:
    from tests.gpu import engine_stages

    return engine_stages.stage_d(given)


def stage_e(given: Given) -> list[Row]:
    from tests.gpu import engine_stages

    return engine_stages.stage_e(given)


STAGES: dict[str, Stage] = {"A": stage_a, "B": stage_b, "C": stage_c, "D": stage_d, "E": stage_e}
_WITH_ENGINE = {"D", "E"}


def main(arguments: Sequence[str]) -> int:
    given, stages, result = _read(arguments)
    rows: list[Row] = []
    for stage in stages:
        print(head())
        try:
            found = STAGES[stage](given)
        except Exception as error:
            found = [failed(stage, error)]
        rows += found
        print("\n".join(map(line, found)), flush=True)
    if result:
        result.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return int(not all(row.good for row in rows))


def _read(arguments: Sequence[str]) -> tuple[Given, list[str], Path | None]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stages", nargs="+", choices=sorted(STAGES))
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--device", default="cuda", help="cpu: only proves that the script runs")
    parser.add_argument(
        "--model",
        type=Path,
        help="for D and E: what `antiphon tiny --sizes released` writes; written if it is missing",
        default=Path("build/random-qwen3-omni"),
    )
    parser.add_argument("--steps", type=int, default=200, help="frames of each stream in D")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    if _WITH_ENGINE & set(given.stages) and not given.model.exists():
        from antiphon_executor.tiny import write_tiny_checkpoint

        write_tiny_checkpoint(given.model, sizes="released")
    batches = [int(batch) for batch in given.batches.split(",")]
    return Given(torch.device(given.device), batches, given.model, given.steps), given.stages, given.json


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
