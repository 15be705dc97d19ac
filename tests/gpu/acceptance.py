"""The first run on a GPU, in stages that are independent: `python -m tests.gpu.acceptance A B C --json FILE`.

A: every Triton kernel against its reference. B: the code predictor, eager, speculative and as one CUDA graph.
C: the end of a step as one graph, and the sound in bfloat16. D: the Talker's engine. E: a whole server.
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
from tests.gpu.kernel_cases import kernel_cases
from tests.gpu.released_step import GROUPS, ReleasedStep
from tests.gpu.table import Given, Row, Stage, failed, head, line

BATCHES = (1, 8, 64)
REPEATS = 50
SPECULATIVE = 2
# Relative errors of sums of about a thousand products.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2}


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Microseconds a call, after a warm-up, by CUDA events; 0 on a CPU."""
    run()
    if device.type != "cuda":
        return 0.0
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(REPEATS):
        run()
    end.record()
    torch.cuda.synchronize()
    return 1_000.0 * start.elapsed_time(end) / REPEATS


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.float() - expected.float()).norm() / expected.float().norm().clamp(min=1e-30))


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
        if device.type == "cuda":
            replay, captured = captured_graph(run)
            replay()
            error = float((captured != eager).sum())
            expected = "the same codes; c=1: about 2 ms, floor 560 us"
            rows.append(
                Row(
                    "B",
                    "predictor, graph",
                    batch,
                    "bfloat16",
                    timed(replay, device),
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


def stage_c(given: Given) -> list[Row]:
    """The end of a step, eager and as one graph; the vocoder's sound in bfloat16 against float32."""
    device, batches = given.device, given.batches
    rows: list[Row] = []
    step = ReleasedStep(max(batches), device, torch.bfloat16)
    for batch in batches:
        step.begin(batch)
        hidden = step.hidden(batch)

        def run(hidden: Tensor = hidden) -> Tensor:
            return step.step.finish(hidden)

        rows.append(
            Row("C", "finish, eager", batch, "bfloat16", timed(run, device), 0.0, "13 to 25 ms", True)
        )
        if device.type == "cuda":
            replay, _ = captured_graph(run)
            micros = timed(replay, device)
            bound = 5_000.0 if batch <= 8 else 8_000.0
            rows.append(
                Row(
                    "C",
                    "finish, graph",
                    batch,
                    "bfloat16",
                    micros,
                    0.0,
                    f"<= {bound:.0f} us",
                    micros <= bound,
                )
            )
    rows.append(_sound(device))
    return rows


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


def captured_graph(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Captures one call after a warm-up on a side stream: its replay, and the tensor that a replay fills."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        captured = run()
    return graph.replay, captured


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
