"""The C++ kernels of a frame compute what PyTorch computes, and are left out where they are not built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from antiphon_executor.models.code2wav import code2wav, vocoder_kernel
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.talker import draw_kernel, predictor_kernel
from antiphon_executor.models.talker import sampling as by_pytorch
from antiphon_executor.models.talker.code_predictor import CodeDraw, CodePredictor
from antiphon_executor.models.talker.sampling import ResidualDraw, SlotSampling, StreamSampling
from antiphon_kernels.native import library as native
from tests.talker.test_code_predictor import CONFIGS, configuration, pair
from tests.talker.vocoder_oracle import SIZES, random_code2wav

built = pytest.mark.skipif(native.library() is None, reason="the C++ kernels are not built")
WIDER = CONFIGS["small"] | {"hidden_size": 24}  # narrower than the Talker: the inputs are projected
SAMPLINGS = (
    StreamSampling(seed=1, predictor_temperature=3.0),
    StreamSampling(seed=-2, predictor_temperature=2.0, predictor_top_k=5, predictor_top_p=1.0),
    StreamSampling(seed=3, predictor_temperature=4.0, predictor_top_k=64, predictor_top_p=0.3),
    StreamSampling(seed=4, temperature=0.0),
    StreamSampling(seed=5, predictor_temperature=1.0, predictor_top_k=1),
)


def residual(rows: int, frame: int, groups: int) -> ResidualDraw:
    slots = SlotSampling.empty(rows, torch.device("cpu"))
    for slot in range(rows):
        slots.put(slot, SAMPLINGS[slot % len(SAMPLINGS)])
    return ResidualDraw(slots.rows(torch.arange(rows), torch.full((rows,), frame)), groups)


def by_torch(draw: ResidualDraw) -> CodeDraw:
    """The same draws; `CodePredictor` gives only a `ResidualDraw` itself to the kernel."""
    return lambda logits, group: draw(logits, group)


def predictor_of(name: str) -> CodePredictor:
    if name != "projected":
        return pair(CONFIGS[name], seed=4)[1]
    torch.manual_seed(4)
    predictor = CodePredictor(configuration(WIDER), talker_hidden=48)
    for parameter in predictor.parameters():
        parameter.data.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 2 else 1.0))
    predictor.fuse()
    return predictor


@built
@pytest.mark.parametrize("name", [*CONFIGS, "projected"])
def test_the_kernel_draws_the_codes_that_pytorch_draws(name: str) -> None:
    predictor = predictor_of(name)
    width, groups = predictor.shape.talker_hidden, predictor.shape.groups
    assert predictor.kernel is not None
    for n in (1, 3, 8, 11):
        for frame in range(4):
            hidden, code0 = torch.randn(n, width), torch.randn(n, width)
            draw = residual(n, frame, groups)
            codes = predictor(hidden, code0, draw)
            assert torch.equal(codes, predictor(hidden, code0, by_torch(draw)))
            alone = residual(1, frame, groups)
            assert torch.equal(predictor(hidden[:1], code0[:1], alone), codes[:1])


@built
def test_code_0_is_the_one_that_pytorch_draws() -> None:
    """Logits, penalties and suppressed codes of every kind; the frames of a window, so that noise differs."""
    slots, rows = SlotSampling.empty(16, torch.device("cpu")), torch.arange(16)
    for slot in range(16):
        penalty, top_p = (1.0, 1.05, 2.0)[slot % 3], (1.0, 0.8, 0.2)[slot % 3]
        temperature = (0.0, 0.9, 2.5, 0.7)[slot % 4]
        slots.put(slot, StreamSampling(slot, temperature, 1 + 9 * slot % 64, top_p, penalty))
    for frame in range(40):
        logits = torch.randn(16, 528) * 3
        seen, suppressed = torch.rand(2, 16, 528) < 0.3
        sampling = slots.rows(rows, torch.full((16,), frame))
        expected = by_pytorch.draw_code0(logits, sampling, seen, suppressed)
        assert torch.equal(draw_kernel.draw_code0(logits, sampling, seen, suppressed), expected)


@built
def test_changed_weights_are_those_of_the_next_frame() -> None:
    predictor = predictor_of("small")
    inputs = torch.randn(4, 48), torch.randn(4, 48)
    before = predictor(*inputs, residual(4, 0, 8))

    predictor.load_weights([("lm_head.0.weight", torch.randn(64, 48))])

    after = predictor(*inputs, residual(4, 0, 8))
    assert torch.equal(after, predictor(*inputs, by_torch(residual(4, 0, 8))))
    assert not torch.equal(after, before)


@built
def test_a_predictor_in_half_precision_draws_by_float32() -> None:
    """The kernel's only rounding is that of the weights and inputs."""
    rough, exact = predictor_of("small").to(torch.bfloat16), predictor_of("small")
    rough.fuse()
    exact.load_weights((name, weight.float()) for name, weight in rough.named_parameters())
    hidden, code0 = torch.randn(6, 48).bfloat16(), torch.randn(6, 48).bfloat16()

    codes = rough(hidden, code0, residual(6, 2, 8))

    assert torch.equal(codes, exact(hidden.float(), code0.float(), by_torch(residual(6, 2, 8))))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def vocoders(size: str, monkeypatch: pytest.MonkeyPatch) -> tuple[StreamingCode2Wav, StreamingCode2Wav]:
    """The same weights, with the kernel and without."""
    oracle = random_code2wav(SIZES[size], seed=2)
    both = []
    for supported in (code2wav.supports, lambda parts: False):
        monkeypatch.setattr(code2wav, "supports", supported)
        vocoder = StreamingCode2Wav(oracle.config, slots=10)
        vocoder.load_state_dict(oracle.state_dict())
        both.append(vocoder)
        assert (vocoder.kernel is None) == (len(both) == 2)
    return both[0], both[1]


def heard(vocoder: StreamingCode2Wav, codes: Tensor, slots: list[int], steps: list[int]) -> Tensor:
    chosen = torch.tensor(slots)
    vocoder.reset(chosen)
    return torch.cat([vocoder(step, chosen) for step in codes.split(steps, dim=1)], dim=1)


@built
@pytest.mark.parametrize("size", ["unit", "tiny", "nano"])
def test_the_kernel_sounds_as_pytorch_does(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the attention window, and in turn with steps of several frames, which PyTorch computes."""
    kernel, plain = vocoders(size, monkeypatch)
    config = kernel.config
    codes = torch.randint(0, config.codebook_size, (3, 100, config.num_quantizers))
    expected = heard(plain, codes, [5, 2, 9], [20] * 5)
    for steps in ([1] * 100, [1] * 30 + [5, 1, 9, 1, 1, 3] + [1] * 50):
        sound = heard(kernel, codes, [5, 2, 9], steps)
        assert ((sound - expected).norm() / expected.norm()) < 5e-6


@built
def test_streams_sound_the_same_in_every_batch_and_with_every_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    kernel, _ = vocoders("unit", monkeypatch)
    codes = torch.randint(0, 64, (7, 6, 4))
    torch.set_num_threads(1)
    alone = [heard(kernel, codes[row : row + 1], [row + 1], [1] * 6) for row in range(7)]
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        assert torch.equal(heard(kernel, codes, list(range(1, 8)), [1] * 6), torch.cat(alone))


def test_without_a_build_pytorch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    for user in (predictor_kernel, vocoder_kernel):
        monkeypatch.setattr(user, "library", lambda: None)
    predictor, vocoder = predictor_of("small"), StreamingCode2Wav(SIZES["unit"], slots=2)
    vocoder.load_state_dict(random_code2wav(SIZES["unit"], seed=2).state_dict())

    assert predictor.kernel is None
    assert vocoder.kernel is None
    assert predictor(torch.randn(1, 48), torch.randn(1, 48), residual(1, 0, 8)).shape == (1, 7)
    assert vocoder(torch.zeros(1, 1, 4, dtype=torch.int64), torch.tensor([1])).shape == (1, 1920)


@built
def test_a_build_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(Path(native.__file__).parent.glob("*.so"))
    assert native._open(path) is not None

    monkeypatch.setattr(native, "VERSION", native.VERSION + 1)

    assert native._open(path) is None
