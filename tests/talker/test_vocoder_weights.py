"""The vocoder loads the checkpoint's tensors by the checkpoint's names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.talker.weights import load_talker_weights
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


class Talker(nn.Module):
    """A Talker of a vocoder and one more layer."""

    def __init__(self) -> None:
        super().__init__()
        self.code2wav = StreamingCode2Wav(CONFIG, slots=2)
        self.head = nn.Linear(2, 2, bias=False)


def talker_weights() -> dict[str, torch.Tensor]:
    vocoder = random_code2wav(CONFIG, seed=1).state_dict()
    return {f"code2wav.{name}": tensor for name, tensor in vocoder.items()} | {
        "talker.head.weight": torch.ones(2, 2)
    }


def load(talker: nn.Module, weights: dict[str, torch.Tensor], folder: Path) -> set[str]:
    """Writes the tensors to shards in turn, so that each shard has some of each module, and loads them."""
    for shard in range(3):
        part = {name: tensor.contiguous() for name, tensor in list(weights.items())[shard::3]}
        save_file(part, folder / f"model-{shard}.safetensors")
    return load_talker_weights(talker, (), SimpleNamespace(model=str(folder)))  # type: ignore[arg-type]


def test_a_vocoder_that_is_spread_over_shards_is_loaded_whole(tmp_path: Path) -> None:
    """vLLM's loader hands it over in as many parts; the first one used to fail for the lack of the others."""
    talker, weights = Talker(), talker_weights()
    items = list(weights.items())
    # The Talker's own tensor lies between the vocoder's, in the middle shard.
    weights = dict([*items[:7], items[-1], *items[7:-1]])
    codes = torch.randint(0, CONFIG.codebook_size, (1, 3, CONFIG.num_quantizers))

    loaded = load(talker, weights, tmp_path)

    assert loaded == {name.removeprefix("talker.") for name in weights}
    oracle = one_shot(random_code2wav(CONFIG, seed=1), codes)
    torch.testing.assert_close(talker.code2wav(codes, torch.tensor([1]))[:, 555:], oracle)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = talker_weights()
    del weights["code2wav.decoder.1.block.0.alpha"]

    with pytest.raises(ValueError, match=r"lack 1 tensors, code2wav\.decoder\.1\.block\.0\.alpha first"):
        load(Talker(), weights, tmp_path)


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
