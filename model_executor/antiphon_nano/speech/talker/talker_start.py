"""The Talker's initial weights: embeddings and heads from the codec's codebooks, rotated.

Similar codes therefore start with similar embeddings. Also the soft labels: how much of a label goes to a
code's neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeExperts

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeTalkerConfig
from antiphon_executor.reference.talker import Talker

_EMBEDDING_SPREAD = 0.25
_OWN_SHARE = 0.75
"""Average share of a soft label that the true code keeps."""


@torch.no_grad()
def fresh_talker(config: Qwen3_5OmniMoeTalkerConfig, codebooks: Tensor) -> Talker:
    """`codebooks`: [groups, entries, width]. Uses torch's global random generator.

    The projection of media starts at zero: media do not change the voice until it is trained.
    """
    talker = Talker(config)
    for module in talker.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            module.reset_parameters()
        if isinstance(module, Qwen3_5MoeExperts):
            for weight in (module.gate_up_proj, module.down_proj):
                nn.init.uniform_(weight, -(weight.shape[-1] ** -0.5), weight.shape[-1] ** -0.5)
    nn.init.normal_(talker.model.embed_tokens.weight, std=_EMBEDDING_SPREAD)
    nn.init.normal_(talker.model.codec_embedding.weight, std=_EMBEDDING_SPREAD)
    nn.init.zeros_(talker.hidden_projection.weight)
    nn.init.zeros_(talker.hidden_projection.bias)
    _know_codes(talker, codebooks)
    return talker


def _know_codes(talker: Talker, codebooks: Tensor) -> None:
    entries, predictor = codebooks.shape[1], talker.code_predictor
    width = talker.codec_head.in_features
    relative = codebooks / codebooks[0].std()
    turned = relative @ _turn(codebooks.shape[2], width) * _EMBEDDING_SPREAD
    talker.model.codec_embedding.weight[:entries] = turned[0]
    for embedding, rows in zip(predictor.model.codec_embedding, turned[1:], strict=True):
        embedding.weight.copy_(rows)
    unit = codebooks / codebooks.std((1, 2), keepdim=True)
    talker.codec_head.weight[:entries] = unit[0] @ _turn(codebooks.shape[2], width) * width**-0.5
    for head, rows in zip(predictor.lm_head, unit[1:], strict=True):
        narrow = head.in_features
        head.weight.copy_(rows @ _turn(codebooks.shape[2], narrow) * narrow**-0.5)


def _turn(inputs: int, outputs: int) -> Tensor:
    """A random [inputs, outputs] matrix that preserves lengths on average."""
    return torch.randn(inputs, outputs) / inputs**0.5


def soft_labels(codebooks: Tensor) -> Tensor:
    """[groups, entries, entries]: for each true code, the label of every code.

    A softmax over squared distances; its temperature leaves three quarters to the true code on average.
    """
    return torch.stack([_softened(torch.cdist(entries, entries).square()) for entries in codebooks])


def _softened(distances: Tensor) -> Tensor:
    coldest, warmest = 1e-6, 1e6
    for _ in range(60):
        warmth = (coldest * warmest) ** 0.5
        shares = torch.softmax(-distances / warmth, -1)
        if shares.diagonal().mean() > _OWN_SHARE:
            coldest = warmth
        else:
            warmest = warmth
    return shares
