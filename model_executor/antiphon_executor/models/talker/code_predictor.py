"""The code predictor (MTP): from the backbone's hidden state and code 0 to the frame's other codes.

Runs groups - 1 passes over n streams; a CUDA graph can capture it. References: transformers'
`Qwen3OmniMoeTalkerCodePredictorModelForConditionalGeneration`; `reference.code_predictor` if it is narrower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig

from antiphon_executor.models.talker.predictor_kernel import PredictorKernel, supports
from antiphon_executor.models.talker.predictor_shape import PredictorShape, rotation
from antiphon_executor.models.talker.sampling import ResidualDraw
from antiphon_kernels import dispatch

CodeDraw = Callable[[Tensor, int], Tensor]
"""(logits [n, vocab], group from 1 to groups - 1) → codes int64 [n]: `ResidualDraw`, or `greedy`."""


def greedy(logits: Tensor, group: int) -> Tensor:
    """Draws the best code of every row, in every group."""
    return logits.argmax(-1)


class CodePredictor(nn.Module):
    """Parameter names are the checkpoint's, without the prefix `talker.code_predictor.`.

    `load_weights` calls `fuse`. After setting weights in any other way, or moving them, call `fuse`.
    """

    def __init__(self, config: PretrainedConfig, talker_hidden: int | None = None) -> None:
        super().__init__()
        self.shape = PredictorShape.of(config, talker_hidden)
        self._kernel: PredictorKernel | None = None
        self._stale = True
        self.model = _Trunk(self.shape)
        self.small_to_mtp_projection: nn.Module = nn.Identity()
        if self.shape.talker_hidden != self.shape.hidden:
            self.small_to_mtp_projection = nn.Linear(self.shape.talker_hidden, self.shape.hidden)
        heads = self.shape.groups - 1
        self.lm_head = nn.ModuleList(
            nn.Linear(self.shape.hidden, self.shape.vocab, bias=False) for _ in range(heads)
        )

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Copies weights by name and fuses; may be called with a part at a time, as vLLM's loader does.

        Returns the names that were loaded. KeyError for an unknown name.
        """
        parameters = dict(self.named_parameters())
        loaded: set[str] = set()
        with torch.no_grad():
            for name, weight in weights:
                parameters[name].copy_(weight)
                loaded.add(name)
        self.fuse()
        return loaded

    def fuse(self) -> None:
        """Joins projections with the same input; the parameters become views of the joined tensor."""
        for layer in self.model.layers:
            layer.self_attn.fuse()
            layer.mlp.fuse()
        self._stale = True

    @property
    def kernel(self) -> PredictorKernel | None:
        """The C++ kernel, where it is built and supports the predictor; None: PyTorch computes it."""
        if self._stale:
            weights = dict(self.named_parameters())
            self._kernel = PredictorKernel(self.shape, weights) if supports(self.shape, weights) else None
            self._stale = False
        return self._kernel

    @torch.inference_mode()
    def forward(self, hidden: Tensor, code0_embedding: Tensor, draw: CodeDraw) -> Tensor:
        """Codes of groups 1 to groups - 1: int64 [n, groups - 1].

        `hidden`: [n, talker_hidden], the backbone's output after its final norm, from which code 0 was drawn;
        `code0_embedding`: [n, talker_hidden], code 0 in the backbone's codec embedding.
        """
        if isinstance(draw, ResidualDraw) and self.kernel is not None:
            return self.kernel(hidden, code0_embedding, draw)
        cache = _Cache.empty(self.shape, hidden)
        rows = torch.stack((hidden, code0_embedding), dim=1)
        codes: list[Tensor] = []
        for group in range(1, self.shape.groups):
            last = self.model(self.small_to_mtp_projection(rows), cache, group + 1 - rows.shape[1])
            codes.append(draw(self.lm_head[group - 1](last), group))
            rows = self.model.codec_embedding[group - 1](codes[-1]).unsqueeze(1)
        return torch.stack(codes, dim=1)


@dataclass(frozen=True, slots=True)
class _Cache:
    """Keys and values of one call: [layers, n, kv_heads, groups, head_dim]."""

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(cls, shape: PredictorShape, like: Tensor) -> _Cache:
        size = (shape.layers, like.shape[0], shape.kv_heads, shape.groups, shape.head_dim)
        return cls(like.new_empty(size), like.new_empty(size))


class _Trunk(nn.Module):
    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, eps=shape.eps)
        self.codec_embedding = nn.ModuleList(
            nn.Embedding(shape.vocab, shape.talker_hidden) for _ in range(shape.groups - 1)
        )

    def forward(self, rows: Tensor, cache: _Cache, start: int) -> Tensor:
        """`rows`: [n, q, hidden] at positions from `start` → [n, hidden] of the last one, normed."""
        first, *norms = [layer.input_layernorm for layer in self.layers] + [self.norm]
        normed = first(rows)
        for index, (layer, norm) in enumerate(zip(self.layers, norms, strict=True)):
            rows, normed = layer(rows, normed, (cache.keys[index], cache.values[index]), start, norm)
        return normed[:, -1]


class _Layer(nn.Module):
    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.eps = shape.eps
        self.self_attn = _Attention(shape)
        self.mlp = _MLP(shape)
        self.input_layernorm = nn.RMSNorm(shape.hidden, eps=shape.eps)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden, eps=shape.eps)

    def forward(
        self, rows: Tensor, normed: Tensor, cache: tuple[Tensor, Tensor], start: int, norm: nn.RMSNorm
    ) -> tuple[Tensor, Tensor]:
        """`normed`: `rows` after `input_layernorm`. Returns the layer's rows, and these after `norm`."""
        between = self.post_attention_layernorm
        mixed = self.self_attn(normed, *cache, start)
        rows, normed = dispatch.add_norm(rows, mixed, between.weight, self.eps)
        return dispatch.add_norm(rows, self.mlp(normed), norm.weight, self.eps)


class _Attention(nn.Module):
    """Grouped-query attention with normed heads; norm weight and rotation are one table by position."""

    qkv: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.shape = shape
        width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, width, bias=False)
        self.k_proj = nn.Linear(shape.hidden, kv_width, bias=False)
        self.v_proj = nn.Linear(shape.hidden, kv_width, bias=False)
        self.o_proj = nn.Linear(width, shape.hidden, bias=False)
        self.q_norm = nn.RMSNorm(shape.head_dim, eps=shape.eps)
        self.k_norm = nn.RMSNorm(shape.head_dim, eps=shape.eps)

    def fuse(self) -> None:
        self.qkv = _joined(self.q_proj, self.k_proj, self.v_proj)
        cosine, sine = rotation(self.shape, self.q_norm.weight, self.k_norm.weight)
        self.cosine, self.sine = cosine.to(self.qkv.dtype), sine.to(self.qkv.dtype)

    def forward(self, rows: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        shape = self.shape
        n, q, _ = rows.shape
        end = start + q
        heads = functional.linear(rows, self.qkv).view(n, q, -1, shape.head_dim)
        queries = dispatch.rotate_heads(heads, self.cosine, self.sine, keys, values, start, shape.eps)
        mixed = functional.scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys[:, :, :end],
            values[:, :, :end],
            is_causal=q > 1,
            enable_gqa=True,
        )
        return self.o_proj(mixed.transpose(1, 2).reshape(n, q, -1))


class _MLP(nn.Module):
    gate_up: Tensor

    def __init__(self, shape: PredictorShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def fuse(self) -> None:
        self.gate_up = _joined(self.gate_proj, self.up_proj)

    def forward(self, rows: Tensor) -> Tensor:
        return self.down_proj(dispatch.gated(functional.linear(rows, self.gate_up)))


def _joined(*projections: nn.Linear) -> Tensor:
    """The projections' weights in one tensor; each weight becomes a view of it, without a copy."""
    joined = torch.cat([projection.weight.detach() for projection in projections])
    parts = joined.split([projection.out_features for projection in projections])
    for projection, part in zip(projections, parts, strict=True):
        projection.weight.data = part
    return joined
