"""The vocoder loads the checkpoint's tensors by the checkpoint's names."""

from __future__ import annotations

import pytest
import torch

from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from tests.talker.vocoder_oracle import SIZES, one_shot, random_code2wav

CONFIG = SIZES["unit"]


def test_names_and_shapes_are_the_checkpoints() -> None:
    ours = StreamingCode2Wav(CONFIG, slots=2).state_dict()
    theirs = random_code2wav(CONFIG, seed=0).state_dict()

    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }


def test_the_names_of_the_released_size_are_the_checkpoints() -> None:
    with torch.device("meta"):
        ours = StreamingCode2Wav(SIZES["released"], slots=2)
        theirs = random_code2wav(SIZES["released"], seed=0)

    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("prefix", ["", "code2wav."])
def test_weights_load_from_a_stream_of_names_and_tensors(prefix: str) -> None:
    oracle = random_code2wav(CONFIG, seed=1)
    codes = torch.randint(0, CONFIG.codebook_size, (1, 3, CONFIG.num_quantizers))
    vocoder = StreamingCode2Wav(CONFIG, slots=2)

    loaded = vocoder.load_weights((prefix + name, tensor) for name, tensor in oracle.state_dict().items())

    assert loaded == set(oracle.state_dict())
    torch.testing.assert_close(vocoder(codes, torch.tensor([1]))[:, 555:], one_shot(oracle, codes))


def test_a_missing_tensor_is_named() -> None:
    weights = dict(random_code2wav(CONFIG, seed=1).state_dict())
    del weights["decoder.1.block.0.alpha"]

    with pytest.raises(ValueError, match=r"decoder\.1\.block\.0\.alpha"):
        StreamingCode2Wav(CONFIG, slots=2).load_weights(weights.items())


def test_an_unknown_tensor_is_refused() -> None:
    with pytest.raises(KeyError, match=r"decoder\.99\.bias"):
        StreamingCode2Wav(CONFIG, slots=2).load_weights([("code2wav.decoder.99.bias", torch.zeros(1))])


def test_what_follows_from_the_weights_is_float32_whatever_their_dtype() -> None:
    vocoder = StreamingCode2Wav(CONFIG, slots=2).to(torch.bfloat16)
    vocoder.load_state_dict(random_code2wav(CONFIG, seed=1).state_dict())

    assert vocoder.decoder[1].block[0].rate.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [({"hidden_act": "gelu"}, "activation"), ({"upsampling_ratios": (1, 1)}, "look-ahead")],
)
def test_a_config_that_is_not_understood_is_refused(change: dict[str, object], message: str) -> None:
    config = type(CONFIG)(**(CONFIG.to_dict() | change))

    with pytest.raises(ValueError, match=message):
        StreamingCode2Wav(config, slots=2)
