"""The code predictor (MTP): from the backbone's hidden state and code 0 to the frame's other codes.

Runs groups - 1 passes over n streams; a CUDA graph can capture them. References: transformers'
`Qwen3OmniMoeTalkerCodePredictorModelForConditionalGeneration`; `reference.code_predictor` if it is narrower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PretrainedConfig

from antiphon_executor.models.joined_linear import joined_weight
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
    `window`: maximum codes that one pass decides; above 1 the predictor is speculative, and no CUDA graph can
    contain it. The C++ kernel always decides one.
    """

    def __init__(self, config: PretrainedConfig, talker_hidden: int | None = None) -> None:
        super().__init__()
        self.shape = PredictorShape.of(config, talker_hidden)
        self.window = 1
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

    @torch.no_grad()
    def forward(self, hidden: Tensor, code0_embedding: Tensor, draw: CodeDraw) -> Tensor:
        """Codes of groups 1 to groups - 1: int64 [n, groups - 1].

        `hidden`: [n, talker_hidden], the backbone's output after its final norm, from which code 0 was drawn;
        `code0_embedding`: [n, talker_hidden], code 0 in the backbone's codec embedding.
        """
        if isinstance(draw, ResidualDraw) and self.kernel is not None:
            return self.kernel(hidden, code0_embedding, draw)
        cache = _Cache.empty(self.shape, hidden)
        rows = torch.stack((hidden, code0_embedding), dim=1)
        if self.window > 1:
            return self._speculated(rows, cache, draw)
        codes: list[Tensor] = []
        for group in range(1, self.shape.groups):
            last = self.model(self.small_to_mtp_projection(rows), cache, group + 1 - rows.shape[1])[:, -1]
            codes.append(draw(self.lm_head[group - 1](last), group))
            rows = self.model.codec_embedding[group - 1](codes[-1]).unsqueeze(1)
        return torch.stack(codes, dim=1)

    def _speculated(self, rows: Tensor, cache: _Cache, draw: CodeDraw) -> Tensor:
        """The codes of `forward`, several of them in a pass if guesses come true.

        A group's code is guessed from the state of an earlier group, by its own head and its own noise. The
        next pass reads the guesses and draws every group as `forward` does; what follows a wrong guess is
        drawn again. All streams advance together. The host reads one number a pass.
        """
        last = self.shape.groups - 1
        states = self.model(self.small_to_mtp_projection(rows), cache, 0)[:, -1:]
        guesses = states.new_empty((len(rows), 0), dtype=torch.int64)
        codes: list[Tensor] = []
        while True:
            done, width = len(codes), states.shape[1]
            drawn = self._drawn(states, done, draw)
            right = (guesses == drawn[:, :-1]).cumprod(dim=1)
            sure = 1 + (int(right.amin(dim=0).sum()) if width > 1 else 0)
            codes += drawn[:, :sure].unbind(1)
            done += sure
            if done == last:
                return torch.stack(codes, dim=1)
            state = states[:, sure - 1 : sure].expand(-1, min(self.window, last - done) - 1, -1)
            guesses = self._drawn(state, done, draw)
            # A stream that is ahead of the others knows its next codes.
            known = min(width - sure, guesses.shape[1])
            ahead = right[:, sure - 1 : sure - 1 + known].bool()
            guesses[:, :known] = torch.where(ahead, drawn[:, sure : sure + known], guesses[:, :known])
            read = torch.cat((codes[-1].unsqueeze(1), guesses), dim=1).unbind(1)
            tables = self.model.codec_embedding[done - 1 : done - 1 + len(read)]
            rows = torch.stack([table(code) for table, code in zip(tables, read, strict=True)], dim=1)
            states = self.model(self.small_to_mtp_projection(rows), cache, done + 1)

    def _drawn(self, states: Tensor, done: int, draw: CodeDraw) -> Tensor:
        """Codes int64 [n, width] of the groups after `done`, from `states` [n, width, hidden]."""
        heads = self.lm_head[done : done + states.shape[1]]
        codes = [draw(head(states[:, at]), done + at + 1) for at, head in enumerate(heads)]
        return torch.stack(codes, dim=1) if codes else states.new_empty((len(states), 0), dtype=torch.int64)


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
        """`rows`: [n, q, hidden] at positions from `start` → the same shape, normed."""
        first, *norms = [layer.input_layernorm for layer in self.layers] + [self.norm]
        normed = first(rows)
        for index, (layer, norm) in enumerate(zip(self.layers, norms, strict=True)):
            rows, normed = layer(rows, normed, (cache.keys[index], cache.values[index]), start, norm)
        return normed


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
        self.qkv = joined_weight(self.q_proj, self.k_proj, self.v_proj)
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
            # `is_causal` counts from the first key, so it fits only the first pass.
            None if q == 1 or start == 0 else _visible(start, end, rows.device),
            is_causal=q > 1 and start == 0,
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
        self.gate_up = joined_weight(self.gate_proj, self.up_proj)

    def forward(self, rows: Tensor) -> Tensor:
        return self.down_proj(dispatch.gated(functional.linear(rows, self.gate_up)))


def _visible(start: int, end: int, device: torch.device) -> Tensor:
    """bool [q, end]: the keys that each of the rows from `start` to `end` sees."""
    return torch.ones(end - start, end, dtype=torch.bool, device=device).tril(start)
