"""The end of a step in buckets, as CUDA graphs run it, changes no stream; and it can be captured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from antiphon_executor.models.code2wav import vocoder_kernel
from antiphon_executor.models.talker import draw_kernel, predictor_kernel
from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step.frame_end import FrameEnd, FrameInputs
from antiphon_executor.models.talker.step.frame_graphs import LARGEST_BUCKET, buckets
from antiphon_kernels import stream_conv
from tests.talker.frame_rig import EOS, HIDDEN, STREAMS, FrameRig, Row, in_buckets, tensors_of

STEPS: tuple[tuple[Row, ...], ...] = (
    ((1, 0),),
    ((1, 1), (2, 0), (3, 0)),
    ((3, 1), (2, 1), (1, 2), (4, 0), (5, 0)),
    ((6, 0), (5, 1), (4, 1), (3, 2), (2, 2), (1, 3)),
    # Slot 2 was preempted and is computed again; slot 3 draws nothing yet; vLLM pads with slot 0.
    ((2, 1), (3, -1), (1, 4), (PADDING_SLOT, 0)),
    ((2, 3), (3, 3)),
)


@pytest.fixture
def by_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: without the C++ kernels, which no graph contains."""
    for module in (vocoder_kernel, predictor_kernel, draw_kernel):
        monkeypatch.setattr(module, "library", lambda: None)
    # oneDNN's own operation has no shape function.
    monkeypatch.setattr(stream_conv, "_ONEDNN_TYPES", frozenset())


def played(rig: FrameRig) -> list[Tensor]:
    torch.manual_seed(1)
    return [rig.run(rows, torch.randn(len(rows), HIDDEN)) for rows in STEPS]


def of_streams(rows: tuple[Row, ...]) -> list[int]:
    """The rows of streams. What a padding row gives depends on what others wrote to the padding slot."""
    return [at for at, (slot, _) in enumerate(rows) if slot != PADDING_SLOT]


def test_buckets_grow_with_the_batch_and_end_at_the_largest() -> None:
    assert buckets(1) == [1]
    assert buckets(6) == [1, 2, 4, 6]
    assert buckets(64) == [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64]
    assert buckets(100)[-3:] == [64, 96, 100]
    assert buckets(10_000)[-1] == LARGEST_BUCKET
    assert all(sizes == sorted(set(sizes)) for sizes in map(buckets, range(1, 300)))


def test_a_step_padded_to_a_bucket_gives_every_stream_what_it_gets_alone() -> None:
    plain, graphed = FrameRig(), FrameRig()
    graphed.step.graphs.capture(STREAMS, in_buckets)
    assert graphed.step.graphs.sizes == [1, 2, 4, 6]
    expected, logits = played(plain), played(graphed)
    streams = slice(1, None)
    for rows, one, other, sent, also in zip(STEPS, expected, logits, plain.sent, graphed.sent, strict=True):
        assert len(also.stream) == len(rows)
        assert torch.equal(one[of_streams(rows)], other[of_streams(rows)])
        assert torch.equal(sent.stream, also.stream)
        assert torch.equal(sent.frame, also.frame)
        heard = sent.stream >= 0
        assert torch.equal(sent.codes[heard], also.codes[heard])
        assert torch.equal(sent.ended[heard], also.ended[heard])
        torch.testing.assert_close(sent.pcm[heard], also.pcm[heard], atol=1, rtol=0)
    for one, other in zip(plain.state(streams), graphed.state(streams), strict=True):
        torch.testing.assert_close(one, other)
    assert sum(int((sent.stream >= 0).sum()) for sent in plain.sent) == 18


def test_streams_differ_and_one_may_end() -> None:
    """Else the test above would compare nothing."""
    rig = FrameRig()
    rig.speech.codec_head.weight.data[EOS] = 0
    played(rig)
    codes = {tuple(row.tolist()) for sent in rig.sent for row in sent.codes[sent.stream >= 0]}
    assert len(codes) > 10
    rig.speech.codec_head.weight.data.zero_()
    rig.speech.codec_head.weight.data[EOS] = 1
    rig.run([(2, 4)], torch.ones(1, HIDDEN))
    assert rig.sent[-1].ended.tolist() == [True]
    assert rig.pool.ended.tolist()[2]


def test_capturing_changes_no_stream() -> None:
    rig = FrameRig()
    played(rig)
    before = rig.state(slice(1, None))
    rig.step.graphs.capture(STREAMS, in_buckets)
    assert all(torch.equal(one, other) for one, other in zip(before, rig.state(slice(1, None)), strict=True))


def test_a_step_above_the_largest_bucket_runs_without_a_graph() -> None:
    rig, plain = FrameRig(), FrameRig()
    rig.step.graphs.capture(2, in_buckets)
    for rows, one, other in zip(STEPS, played(plain), played(rig), strict=True):
        assert torch.equal(one[of_streams(rows)], other[of_streams(rows)])


def test_released_graphs_are_not_run() -> None:
    rig = FrameRig()
    rig.step.graphs.capture(STREAMS, in_buckets)
    rig.step.graphs.release()
    assert rig.step.graphs.sizes == []
    assert len(played(rig)) == len(STEPS)


@pytest.mark.usefixtures("by_pytorch")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_the_end_of_a_step_compiles_as_one_graph(backend: str) -> None:
    """Without a break: no branch on device data, no read on the host."""
    graphs: list[torch.fx.GraphModule] = []
    compiler = torch._dynamo.lookup_backend(backend)

    def compiling(graph: torch.fx.GraphModule, examples: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        made: Callable[..., Any] = compiler(graph, examples)
        return made

    plain, compiled = FrameRig(), FrameRig()
    assert compiled.speech.predictor.kernel is None
    assert compiled.vocoder.kernel is None
    rows = ((1, 0), (2, 0), (PADDING_SLOT, 0))
    torch.manual_seed(2)
    hidden = torch.randn(3, HIDDEN)
    torch._dynamo.reset()
    ends = [_whole(FrameEnd(rig.speech, rig.pool)) for rig in (plain, compiled)]
    run = torch.compile(ends[1], fullgraph=True, backend=compiling)
    with torch.no_grad():
        # Another frame is another value, not another graph.
        for frame in range(2):
            given = [_inputs(rig, rows, frame, hidden) for rig in (plain, compiled)]
            for one, other in zip(ends[0](given[0]), run(given[1]), strict=True):
                torch.testing.assert_close(one, other, equal_nan=True)
    assert len(graphs) == 1
    for one, other in zip(plain.state(slice(1, None)), compiled.state(slice(1, None)), strict=True):
        torch.testing.assert_close(one, other)


def _whole(end: FrameEnd) -> Callable[[FrameInputs], list[Tensor]]:
    """Logits and frames."""

    def run(given: FrameInputs) -> list[Tensor]:
        drawn = end.draw(given)
        return [drawn.logits, *tensors_of(end.sound(drawn))]

    return run


def _inputs(rig: FrameRig, rows: tuple[Row, ...], later: int, hidden: Tensor) -> FrameInputs:
    inputs = FrameInputs.padding(len(rows), rig.pool)
    inputs.slot.copy_(torch.tensor([slot for slot, _ in rows]))
    inputs.frame.copy_(torch.tensor([frame + later for _, frame in rows]))
    return inputs.around(hidden)
