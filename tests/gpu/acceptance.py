"""The first run on a GPU, in stages that are independent: `python -m tests.gpu.acceptance A B C --json FILE`.

A: every Triton kernel against its reference. B: the code predictor, eager and as one CUDA graph. C: the whole
end of a step as one graph, and the vocoder's sound in bfloat16. Beside a figure stands what it must be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from antiphon_executor.models.talker.sampling import ResidualDraw
from antiphon_kernels import dispatch, draw, frame_embedding, predictor_layer
from antiphon_kernels import snake as snake_operation
from antiphon_kernels import stream_conv as conv_operation
from tests.gpu.released_step import GROUPS, HIDDEN, ReleasedStep

BATCHES = (1, 8, 64)
REPEATS = 50
# Relative errors of sums of about a thousand products.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2}


@dataclass(frozen=True)
class Row:
    """One line of a table. `expected`: written before the first run, in words; `good`: whether it holds."""

    stage: str
    what: str
    batch: int
    dtype: str
    microseconds: float
    error: float
    expected: str
    good: bool


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


def stage_a(device: torch.device, batches: Sequence[int]) -> list[Row]:
    """Each kernel at the released sizes against its reference, on the same device."""
    rows: list[Row] = []
    for dtype in (torch.float32, torch.bfloat16):
        for batch in batches:
            for name, own, reference in _kernels(batch, dtype, device):
                error = relative_error(own(), reference())
                bound = 0.0 if name == "draw" else TOLERANCE[dtype]
                expected = "the same codes" if name == "draw" else f"error <= {bound:g}"
                rows.append(
                    Row("A", name, batch, str(dtype), timed(own, device), error, expected, error <= bound)
                )
    return rows


def _kernels(
    batch: int, dtype: torch.dtype, device: torch.device
) -> list[tuple[str, Callable[[], Tensor], Callable[[], Tensor]]]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device).to(dtype)

    torch.manual_seed(0)
    rate, gain = snake_operation.constants(normal(192).float(), normal(192).float())
    tail, x = normal(batch, 54, 192), normal(batch, 160, 192)
    started = torch.ones(batch, 1, 1, dtype=dtype, device=device)
    window, weight, bias = normal(batch, 66, 768), normal(768, 768, 7) * 0.01, normal(768)
    codes = torch.randint(0, 2_048, (batch, GROUPS), device=device)
    table = normal(3_072 + (GROUPS - 1) * 2_048, HIDDEN)
    offsets = torch.arange(GROUPS, device=device) * 2_048
    text, update, scale = normal(batch, HIDDEN), normal(batch, HIDDEN), normal(HIDDEN)
    gate_up = normal(batch, 1, 6_144)
    scores = 3 * torch.randn(batch, 2_048, device=device)
    ones = torch.ones(batch, device=device)
    top_k = torch.full((batch,), 50, dtype=torch.int64, device=device)
    key = draw.mixed(torch.arange(batch, device=device))
    drawing = (scores, ones, top_k, 0.8 * ones, key)
    return [
        (
            "snake",
            lambda: dispatch.snake(x, rate, gain, tail, started, 8),
            lambda: snake_operation.reference(x, rate, gain, tail, started, 8),
        ),
        (
            "stream_conv",
            lambda: dispatch.stream_conv(window, weight, bias, 3, 1),
            lambda: conv_operation.reference(window, weight, bias, 3, 1),
        ),
        (
            "frame_embedding",
            lambda: dispatch.frame_embedding(codes, table, offsets, text),
            lambda: frame_embedding.reference(codes, table, offsets, text),
        ),
        (
            "add_norm",
            lambda: dispatch.add_norm(text, update, scale, 1e-6)[1],
            lambda: predictor_layer.add_norm(text, update, scale, 1e-6)[1],
        ),
        ("gated", lambda: dispatch.gated(gate_up), lambda: predictor_layer.gated(gate_up)),
        ("draw", lambda: dispatch.draw(*drawing), lambda: draw.reference(*drawing)),
    ]


def stage_b(device: torch.device, batches: Sequence[int]) -> list[Row]:
    """The predictor by batch: eager, and as one graph, which must draw the same codes."""
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


def stage_c(device: torch.device, batches: Sequence[int]) -> list[Row]:
    """The end of a step, eager and as one graph; the vocoder's sound in bfloat16 against float32."""
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


Stage = Callable[[torch.device, Sequence[int]], list[Row]]
STAGES: dict[str, Stage] = {"A": stage_a, "B": stage_b, "C": stage_c}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stages", nargs="+", choices=sorted(STAGES))
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--device", default="cuda", help="cpu: only proves that the script runs")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    batches = [int(batch) for batch in given.batches.split(",")]
    rows: list[Row] = []
    for stage in given.stages:
        print(f"\n| {' | '.join(Row.__dataclass_fields__)} |\n|{'---|' * len(Row.__dataclass_fields__)}")
        for row in STAGES[stage](device, batches):
            rows.append(row)
            print(
                "| "
                + " | ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in asdict(row).values())
            )
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return int(not all(row.good for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
