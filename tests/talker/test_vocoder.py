"""The streaming vocoder equals transformers' one-shot decoding, for any grouping of frames and streams."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.code2wav.state import PADDING_SLOT
from tests.talker.vocoder_oracle import SIZES, one_shot, random_code2wav

CONFIG = SIZES["unit"]
STREAMS, FRAMES = 8, 24
TOLERANCE = 5e-6


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These sizes are too small to share: with more threads the operations only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def spoken() -> tuple[Tensor, Tensor]:
    """Codes [streams, frames, groups] of eight streams, and the oracle's sound of each."""
    generator = torch.Generator().manual_seed(7)
    shape = (STREAMS, FRAMES, CONFIG.num_quantizers)
    codes = torch.randint(0, CONFIG.codebook_size, shape, generator=generator)
    return codes, one_shot(oracle(), codes)


@cache
def oracle() -> Qwen3OmniMoeCode2Wav:
    return random_code2wav(CONFIG, seed=0)


@cache
def vocoder() -> StreamingCode2Wav:
    """One vocoder for all tests: each must begin its streams with a reset."""
    streaming = StreamingCode2Wav(CONFIG, slots=STREAMS + 2)
    streaming.load_state_dict(oracle().state_dict())
    return streaming


def begin(*slots: int) -> Tensor:
    chosen = torch.tensor(slots)
    vocoder().reset(chosen)
    return chosen


def stream(codes: Tensor, slots: Tensor, groups: list[int]) -> Tensor:
    """The valid sound of new streams [batch, frames, groups], decoded in steps of these many frames."""
    assert sum(groups) == codes.shape[1]
    waves = [vocoder()(step, slots) for step in codes.split(groups, dim=1)]
    return torch.cat(waves, dim=1)[:, vocoder().lookahead_samples :]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return ((actual - expected).norm() / expected.norm()).item()


def test_the_oracle_hides_nothing() -> None:
    """Given sound that vanished, or that clipped everywhere, the other tests could not fail."""
    _, sound = spoken()

    assert 0.02 < sound.std() < 0.5
    assert (sound.abs() >= 1).float().mean() < 0.01


@pytest.mark.parametrize("groups", [[1] * 24, [24], [1, 1, 3, 10, 2, 7], [10, 10, 4]], ids=str)
def test_streamed_sound_is_the_one_shot_sound_for_any_grouping_of_frames(groups: list[int]) -> None:
    codes, sound = spoken()

    assert relative_error(stream(codes[:2], begin(1, 2), groups), sound[:2]) < TOLERANCE


def test_a_stream_of_three_hundred_frames_stays_exact_beyond_the_attention_window() -> None:
    codes = torch.randint(0, CONFIG.codebook_size, (1, 300, CONFIG.num_quantizers))
    sound = one_shot(oracle(), codes)

    for groups in ([1] * 300, [300], [70, 71, 72, 73, 14]):
        assert relative_error(stream(codes, begin(4), groups), sound) < TOLERANCE


def test_a_short_window_and_fewer_key_heads_are_the_oracles_too() -> None:
    config = type(CONFIG)(**(CONFIG.to_dict() | {"sliding_window": 5, "num_key_value_heads": 1}))
    reference = random_code2wav(config, seed=3)
    streaming = StreamingCode2Wav(config, slots=2)
    streaming.load_state_dict(reference.state_dict())
    codes, _ = spoken()

    waves = [streaming(step, torch.tensor([1])) for step in codes[:1].split([1, 1, 1, 4, 6, 11], dim=1)]

    expected = one_shot(reference, codes[:1])
    assert relative_error(torch.cat(waves, dim=1)[:, 555:], expected) < TOLERANCE


def test_eight_streams_of_different_ages_share_a_batch() -> None:
    """Stream i begins i frames late and all step together: each sounds as it does alone."""
    codes, sound = spoken()
    slots = begin(*range(1, STREAMS + 1))
    heard: list[list[Tensor]] = [[] for _ in range(STREAMS)]

    for now in range(FRAMES):
        playing = torch.arange(min(now + 1, STREAMS))
        waves = vocoder()(codes[playing, now - playing].unsqueeze(1), slots[playing])
        for index, wave in zip(playing.tolist(), waves, strict=True):
            heard[index].append(wave)

    for index, waves in enumerate(heard):
        frames = FRAMES - index
        valid = torch.cat(waves)[555:]
        assert relative_error(valid, sound[index, : vocoder().grid.samples(frames)]) < TOLERANCE


steps = st.lists(
    st.tuples(st.sets(st.integers(0, STREAMS - 1), min_size=1), st.integers(1, 6)), min_size=1, max_size=10
)


@given(steps, st.permutations(range(1, STREAMS + 1)))
@settings(max_examples=15, deadline=None)
def test_any_mix_of_streams_slots_and_step_sizes_sounds_the_same(
    mixes: list[tuple[set[int], int]], order: list[int]
) -> None:
    codes, sound = spoken()
    slots = begin(*order)
    at = [0] * STREAMS
    for chosen, frames in mixes:
        going = [index for index in sorted(chosen) if at[index] + frames <= FRAMES]
        if not going:
            continue
        batch = torch.stack([codes[index, at[index] : at[index] + frames] for index in going])
        for index, wave in zip(going, vocoder()(batch, slots[going]), strict=True):
            grid = vocoder().grid
            valid = wave[grid.valid(at[index])]
            begins = grid.samples(at[index])
            at[index] += frames
            assert relative_error(valid, sound[index, begins : grid.samples(at[index])]) < 10 * TOLERANCE


def test_a_slot_used_before_gives_exactly_what_a_new_vocoder_gives() -> None:
    """Given a slot that another stream has used, when it is reset, then its output does not change."""
    codes, _ = spoken()
    stream(codes[:3], begin(1, 2, 3), [1, 20, 3])
    again = stream(codes[3:6], begin(1, 2, 3), [1, 4, 19])

    fresh = StreamingCode2Wav(CONFIG, slots=4)
    fresh.load_state_dict(oracle().state_dict())
    expected = torch.cat(
        [fresh(step, torch.tensor([1, 2, 3])) for step in codes[3:6].split([1, 4, 19], dim=1)], 1
    )

    assert torch.equal(again, expected[:, 555:])


def test_even_a_stream_that_left_no_numbers_behind_leaks_nothing() -> None:
    codes, sound = spoken()
    for pool in (vocoder().state.tails, vocoder().state.rings):
        pool[3].fill_(float("nan"))

    assert relative_error(stream(codes[:1], begin(3), [1, 23]), sound[:1]) < TOLERANCE


def test_a_reset_leaves_the_other_streams_alone() -> None:
    codes, sound = spoken()
    slots = begin(1, 2)
    first = vocoder()(codes[:2, :10], slots)
    begin(2)
    second = vocoder()(codes[:1, 10:], slots[:1])

    heard = torch.cat([first[:1], second], dim=1)[:, 555:]
    assert relative_error(heard, sound[:1]) < TOLERANCE


def test_padding_rows_in_the_padding_slot_change_nothing() -> None:
    codes, sound = spoken()
    slots = torch.tensor([PADDING_SLOT, 5, PADDING_SLOT, PADDING_SLOT])
    begin(5)

    waves = [vocoder()(codes[:4, frame : frame + 1], slots)[1] for frame in range(FRAMES)]

    assert relative_error(torch.cat(waves)[555:], sound[1]) < TOLERANCE
    assert vocoder().state.tails[PADDING_SLOT].isfinite().all()


def test_streams_with_different_numbers_of_frames_decode_in_one_call() -> None:
    codes, sound = spoken()
    begin(1, 2, 3)

    waves = vocoder().decode([codes[0, :5], codes[1, :2], codes[2, :5]], [3, 1, 2])

    assert [len(wave) for wave in waves] == [9600, 3840, 9600]
    for index, wave in enumerate(waves):
        assert relative_error(wave[555:], sound[index, : len(wave) - 555]) < TOLERANCE


def test_a_code_beyond_the_codebook_is_read_as_the_last_code() -> None:
    codes, _ = spoken()
    last, beyond = codes[:1, :1].clone(), codes[:1, :1].clone()
    last[..., 0], beyond[..., 0] = CONFIG.codebook_size - 1, CONFIG.codebook_size + 102

    assert torch.equal(vocoder()(last, begin(1)), vocoder()(beyond, begin(2)))


def test_the_sound_is_clipped_as_the_oracles_is() -> None:
    loud = random_code2wav(CONFIG, seed=0)
    loud.decoder[-1].conv.weight.mul_(100)
    streaming = StreamingCode2Wav(CONFIG, slots=2)
    streaming.load_state_dict(loud.state_dict())
    codes, _ = spoken()

    wave = streaming(codes[:1, :3], torch.tensor([1]))

    assert wave.abs().max() == 1.0
    assert relative_error(wave[:, 555:], one_shot(loud, codes[:1, :3])) < 1e-4


def test_in_bfloat16_the_sound_stays_near_and_the_output_is_float32() -> None:
    codes, sound = spoken()
    streaming = StreamingCode2Wav(CONFIG, slots=2).to(torch.bfloat16)
    streaming.load_state_dict(oracle().state_dict())

    waves = [streaming(step, torch.tensor([1])) for step in codes[:1].split([1, 3, 20], dim=1)]

    wave = torch.cat(waves, dim=1)[:, 555:]
    assert wave.dtype == torch.float32
    assert relative_error(wave, sound[:1]) < 0.05


def test_a_step_never_reads_device_data_on_the_host() -> None:
    """On the meta device there is no data: `.item()`, `nonzero` and the like would raise."""
    streaming = StreamingCode2Wav(CONFIG, slots=4).to("meta")
    codes = torch.zeros(3, 1, CONFIG.num_quantizers, dtype=torch.int64, device="meta")
    slots = torch.zeros(3, dtype=torch.int64, device="meta")

    streaming.reset(slots)
    assert streaming(codes, slots).shape == (3, 1920)
