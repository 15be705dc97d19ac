"""Codes are drawn as in transformers, with noise that depends only on the stream."""

from __future__ import annotations

import dataclasses
import math

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from antiphon_executor.models.talker import sampling as drawing
from antiphon_executor.models.talker.sampling import (
    MAX_TOP_K,
    ResidualDraw,
    Sampling,
    SlotSampling,
    StreamSampling,
    draw_code0,
    suppressed_codes,
)
from antiphon_kernels import draw

CODEC_VOCAB, EOS, RESIDUAL_VOCAB = 256 + 1_024, 270, 512
CPU = torch.device("cpu")
SUPPRESSED = suppressed_codes(CODEC_VOCAB, EOS, CPU)


def rows(streams: list[StreamSampling], frames: list[int]) -> Sampling:
    slots = SlotSampling.empty(len(streams), CPU)
    for slot, stream in enumerate(streams):
        slots.put(slot, stream)
    return slots.rows(torch.arange(len(streams)), torch.tensor(frames))


def draw_residual(logits: Tensor, sampling: Sampling, group: int) -> Tensor:
    return ResidualDraw(sampling, groups=16)(logits, group)


def uniform(sampling: Sampling, group: int, codes: Tensor) -> Tensor:
    return draw.uniform(drawing.noise_keys(sampling, 16)[group], codes)


def picked(sampling: Sampling, which: list[int]) -> Sampling:
    index = torch.tensor(which)
    return Sampling(**{f.name: getattr(sampling, f.name)[index] for f in dataclasses.fields(sampling)})


def many_frames(stream: StreamSampling, frames: int) -> Sampling:
    slots = SlotSampling.empty(1, CPU)
    slots.put(0, stream)
    return slots.rows(torch.zeros(frames, dtype=torch.int64), torch.arange(frames))


def seen_codes(history: Tensor) -> Tensor:
    return torch.zeros(history.shape[0], CODEC_VOCAB, dtype=torch.bool).scatter(1, history, value=True)


def spread(values: Tensor, codes: Tensor, vocab: int) -> Tensor:
    return torch.full((values.shape[0], vocab), -torch.inf).scatter(1, codes, values)


def assert_drawn_from(codes: Tensor, probabilities: Tensor) -> None:
    """Chi-square within five standard deviations; nothing outside the support."""
    counts = torch.bincount(codes, minlength=len(probabilities)).double()
    expected = probabilities.double() * len(codes)
    assert counts[expected == 0].sum() == 0
    common = expected >= 5
    chi_square = ((counts - expected)[common] ** 2 / expected[common]).sum().item()
    freedom = int(common.sum()) - 1
    assert freedom > 3
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


class TestOrderOfTheProcessors:
    @pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1.0])
    @pytest.mark.parametrize("penalty", [0.8, 1.0, 1.05, 1.7])
    @pytest.mark.parametrize("seed", range(3))
    def test_code_0_is_filtered_as_by_transformers(self, seed: int, penalty: float, top_p: float) -> None:
        torch.manual_seed(seed)
        logits = torch.randn(3, CODEC_VOCAB) * 4
        history = torch.randint(0, 256, (3, 40))
        oracle = LogitsProcessorList(
            [
                RepetitionPenaltyLogitsProcessor(penalty),
                SuppressTokensLogitsProcessor(torch.nonzero(SUPPRESSED).flatten().tolist()),
                TemperatureLogitsWarper(0.9),
                TopKLogitsWarper(50),
                *([TopPLogitsWarper(top_p)] if top_p < 1 else []),
            ]
        )
        stream = StreamSampling(seed=1, top_p=top_p, repetition_penalty=penalty)
        sampling = rows([stream] * 3, [0, 1, 2])
        scores = drawing.code0_scores(logits, sampling.repetition_penalty, seen_codes(history), SUPPRESSED)
        values, codes = draw.candidates(scores, sampling.temperature, sampling.top_k)
        values = draw.nucleus(values, sampling.top_p)
        assert torch.equal(spread(values, codes, CODEC_VOCAB), oracle(history, logits.clone()))

    @pytest.mark.parametrize("top_p", [0.05, 0.5, 0.8, 0.95, 1.0])
    @pytest.mark.parametrize("top_k", [1, 50, MAX_TOP_K])
    def test_residual_codes_are_filtered_as_by_transformers(self, top_k: int, top_p: float) -> None:
        torch.manual_seed(top_k)
        logits = torch.randn(8, RESIDUAL_VOCAB) * 3
        warpers = [TemperatureLogitsWarper(1.1), TopKLogitsWarper(top_k)]
        oracle = LogitsProcessorList(warpers + ([TopPLogitsWarper(top_p)] if top_p < 1 else []))
        k, p = torch.full((8,), top_k), torch.full((8,), top_p)
        values, codes = draw.candidates(logits, torch.full((8,), 1.1), k)
        values = draw.nucleus(values, p)
        assert torch.equal(spread(values, codes, RESIDUAL_VOCAB), oracle(codes, logits.clone()))

    def test_scores_that_equal_the_kth_stay(self) -> None:
        logits = torch.zeros(1, RESIDUAL_VOCAB)
        logits[0, :7] = 1.0
        values, codes = draw.candidates(logits, torch.ones(1), torch.tensor([3]))
        assert torch.equal(spread(values, codes, RESIDUAL_VOCAB), TopKLogitsWarper(3)(codes, logits.clone()))

    def test_the_draw_keeps_as_many_scores_as_a_client_may_ask_for(self) -> None:
        """The kernels have the number of `draw.py`."""
        assert draw.MAX_TOP_K == MAX_TOP_K

    def test_all_of_the_tail_but_eos_is_suppressed(self) -> None:
        allowed = torch.nonzero(~suppressed_codes(3_072, 2_150, CPU)).flatten().tolist()
        assert allowed == [*range(2_048), 2_150]

    @pytest.mark.parametrize(("vocab", "eos"), [(1_024, 5), (3_072, 3_072), (3_072, -1)])
    def test_a_vocabulary_without_codes_is_refused(self, vocab: int, eos: int) -> None:
        with pytest.raises(ValueError, match="leaves no codes"):
            suppressed_codes(vocab, eos, CPU)


class TestGreedy:
    def test_temperature_0_takes_the_best_in_every_group(self) -> None:
        torch.manual_seed(0)
        sampling = rows([StreamSampling(seed=s, temperature=0.0) for s in range(4)], [3] * 4)
        logits = torch.randn(4, CODEC_VOCAB)
        history = torch.randint(0, 256, (4, 30))
        penalised = RepetitionPenaltyLogitsProcessor(1.05)(history, logits.clone())
        best = penalised.masked_fill(SUPPRESSED, -torch.inf).argmax(-1)
        assert torch.equal(draw_code0(logits, sampling, seen_codes(history), SUPPRESSED), best)
        residual = torch.randn(4, RESIDUAL_VOCAB)
        assert torch.equal(draw_residual(residual, sampling, 5), residual.argmax(-1))

    def test_of_equal_codes_the_first_is_taken(self) -> None:
        logits = torch.zeros(1, RESIDUAL_VOCAB)
        logits[0, [100, 7, 300]] = 2.0
        assert draw_residual(logits, rows([StreamSampling(seed=0, temperature=0.0)], [0]), 1).item() == 7

    def test_greedy_and_sampled_rows_share_a_batch(self) -> None:
        torch.manual_seed(1)
        logits = torch.randn(1, RESIDUAL_VOCAB).expand(400, -1)
        streams = [StreamSampling(seed=s, temperature=0.9 * (s % 2)) for s in range(400)]
        drawn = draw_residual(logits, rows(streams, [0] * 400), 1)
        assert (drawn[::2] == logits[0].argmax()).all()
        assert len(drawn[1::2].unique()) > 10


class TestDistribution:
    @pytest.mark.parametrize("top_p", [0.6, 1.0])
    def test_code_0_follows_the_softmax_of_what_the_filters_leave(self, top_p: float) -> None:
        torch.manual_seed(2)
        draws = 20_000
        logits = torch.randn(1, CODEC_VOCAB) * 1.5
        sampling = many_frames(StreamSampling(seed=11, top_p=top_p), draws)
        history = torch.randint(0, 256, (1, 20))
        one = picked(sampling, [0])
        scores = drawing.code0_scores(logits, one.repetition_penalty, seen_codes(history), SUPPRESSED)
        values, codes = draw.candidates(scores, one.temperature, one.top_k)
        values = draw.nucleus(values, one.top_p)
        drawn = draw_code0(
            logits.expand(draws, -1), sampling, seen_codes(history).expand(draws, -1), SUPPRESSED
        )
        assert_drawn_from(drawn, spread(values, codes, CODEC_VOCAB).softmax(-1)[0])

    @pytest.mark.parametrize("group", [1, 15])
    def test_residual_codes_follow_the_softmax_of_what_the_filters_leave(self, group: int) -> None:
        torch.manual_seed(3)
        draws = 20_000
        logits = torch.randn(1, RESIDUAL_VOCAB)
        sampling = many_frames(StreamSampling(seed=-5), draws)
        kept = TopPLogitsWarper(0.8)(None, TopKLogitsWarper(50)(None, logits.clone()))
        drawn = draw_residual(logits.expand(draws, -1), sampling, group)
        assert_drawn_from(drawn, kept.softmax(-1)[0])

    def test_uniforms_stay_inside_their_bounds_and_are_even(self) -> None:
        noise = uniform(many_frames(StreamSampling(seed=4), 2_000), 3, torch.arange(512).expand(2_000, -1))
        assert noise.min() > 0
        assert noise.max() < 1
        assert_drawn_from((noise.flatten() * 256).long(), torch.full((256,), 1 / 256))

    @pytest.mark.parametrize("bits", [0, (1 << 23) - 1])
    def test_neither_bound_can_be_hit_in_float32(self, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(draw, "_shifted", lambda x, _: torch.full_like(x, bits))
        noise = uniform(many_frames(StreamSampling(seed=4), 1), 3, torch.zeros(1, 1, dtype=torch.int64))
        assert 0 < noise.item() < 1
        assert torch.isfinite(-torch.log(-torch.log(noise))).all()


class TestIndependence:
    @staticmethod
    def noise(seed: int, group: int) -> Tensor:
        codes = torch.arange(64).expand(3_000, -1)
        return uniform(many_frames(StreamSampling(seed=seed), 3_000), group, codes)

    @pytest.mark.parametrize(("one", "other"), [((0, 0), (0, 1)), ((0, 3), (0, 15)), ((0, 2), (1, 2))])
    def test_groups_and_seeds_do_not_correlate(self, one: tuple[int, int], other: tuple[int, int]) -> None:
        a, b = self.noise(*one).flatten(), self.noise(*other).flatten()
        assert abs(torch.corrcoef(torch.stack((a, b)))[0, 1].item()) < 5 / math.sqrt(len(a))

    def test_no_two_places_of_a_stream_share_their_noise(self) -> None:
        keys = drawing.noise_keys(many_frames(StreamSampling(seed=1), 4_096), 16)
        assert len(keys.unique()) == keys.numel()

    @pytest.mark.parametrize("lag", [1, 2, 64])
    def test_neither_do_frames_or_codes(self, lag: int) -> None:
        noise = self.noise(7, 0)
        frames = torch.stack((noise[:-lag].flatten(), noise[lag:].flatten()))
        assert abs(torch.corrcoef(frames)[0, 1].item()) < 5 / math.sqrt(frames.shape[1])
        codes = torch.stack((noise[:, : 64 - lag % 64].flatten(), noise[:, lag % 64 :].flatten()))
        if lag % 64:
            assert abs(torch.corrcoef(codes)[0, 1].item()) < 5 / math.sqrt(codes.shape[1])


class TestBatchInvariance:
    @settings(max_examples=25, deadline=None)
    @given(
        seeds=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=6),
        frame=st.integers(0, 4_095),
        order=st.randoms(use_true_random=False),
        logits_seed=st.integers(0, 1_000),
    )
    def test_a_stream_draws_the_same_codes_in_every_batch(
        self, seeds: list[int], frame: int, order: object, logits_seed: int
    ) -> None:
        n = len(seeds)
        generator = torch.Generator().manual_seed(logits_seed)
        logits = torch.randn(n, CODEC_VOCAB, generator=generator)
        seen = torch.rand(n, CODEC_VOCAB, generator=generator) < 0.1
        streams = [StreamSampling(seed=s, top_p=1 - 0.3 * (i % 3)) for i, s in enumerate(seeds)]
        sampling = rows(streams, [frame + i for i in range(n)])
        code0 = draw_code0(logits, sampling, seen, SUPPRESSED)
        residual = draw_residual(logits, sampling, 4)
        shuffled = list(range(n))
        order.shuffle(shuffled)  # type: ignore[attr-defined]
        for which in [shuffled, *([i] for i in range(n))]:
            alone = picked(sampling, which)
            assert torch.equal(draw_code0(logits[which], alone, seen[which], SUPPRESSED), code0[which])
            assert torch.equal(draw_residual(logits[which], alone, 4), residual[which])


class TestParameters:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"top_k": 0},
            {"predictor_top_k": MAX_TOP_K + 1},
            {"predictor_top_p": 0.0},
            {"top_p": 0.0},
            {"top_p": 1.5},
            {"temperature": -0.1},
            {"repetition_penalty": 0.0},
            {"seed": 1 << 63},
        ],
    )
    def test_values_out_of_range_are_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong)).split("_", maxsplit=1)[0]):
            StreamSampling(**({"seed": 0} | wrong))  # type: ignore[arg-type]

    def test_they_survive_the_wire(self) -> None:
        sent = StreamSampling(seed=-(1 << 63), top_k=7)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=StreamSampling) == sent

    def test_an_unused_slot_is_greedy(self) -> None:
        unused = SlotSampling.empty(2, CPU).rows(torch.tensor([1]), torch.tensor([0]))
        logits = torch.randn(1, RESIDUAL_VOCAB)
        assert torch.equal(draw_residual(logits, unused, 1), logits.argmax(-1))
