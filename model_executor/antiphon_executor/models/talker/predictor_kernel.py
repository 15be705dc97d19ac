"""The code predictor as one call of the C++ kernels, in float32, draws included."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import torch
from torch import Tensor

from antiphon_executor.models.talker.predictor_shape import PredictorShape, rotation
from antiphon_executor.models.talker.sampling import ResidualDraw
from antiphon_kernels.native.library import MAX_VOCAB, Matrix, Predictor, PredictorLayer, library
from antiphon_kernels.native.packing import Packing

# Larger predictors are faster by oneDNN, which the cache then does not limit.
_MAX_PARAMETERS = 16_000_000


def supports(shape: PredictorShape, parameters: Mapping[str, Tensor]) -> bool:
    """Whether the kernels are built and compute this predictor."""
    sizes = (shape.hidden, shape.talker_hidden, shape.intermediate, shape.head_dim, shape.vocab)
    return (
        library() is not None
        and all(parameter.device.type == "cpu" for parameter in parameters.values())
        and all(size % 8 == 0 for size in sizes)
        and shape.vocab <= MAX_VOCAB
        and sum(parameter.numel() for parameter in parameters.values()) <= _MAX_PARAMETERS
    )


class PredictorKernel:
    """Copies the parameters, which have the checkpoint's names."""

    def __init__(self, shape: PredictorShape, parameters: Mapping[str, Tensor]) -> None:
        found = library()
        if found is None:
            raise RuntimeError("the C++ kernels are not built")
        self._library, self._shape, self._packing = found, shape, Packing()
        self._struct = self._predictor(parameters)
        self._row_floats = int(found.antiphon_predictor_row_floats(ctypes.byref(self._struct)))
        self._scratch = torch.empty(0)

    def __call__(self, hidden: Tensor, code0_embedding: Tensor, draw: ResidualDraw) -> Tensor:
        """As `CodePredictor.forward`."""
        n = hidden.shape[0]
        rows, code0 = hidden.float().contiguous(), code0_embedding.float().contiguous()
        if self._scratch.numel() < n * self._row_floats:
            self._scratch = torch.empty(n * self._row_floats)
        codes = torch.empty(n, self._shape.groups - 1, dtype=torch.int64)
        self._library.antiphon_predictor_run(
            ctypes.byref(self._struct),
            rows.data_ptr(),
            code0.data_ptr(),
            n,
            draw.temperature.data_ptr(),
            draw.sampling.predictor_top_k.data_ptr(),
            draw.sampling.predictor_top_p.data_ptr(),
            draw.sampling.seed.data_ptr(),
            draw.sampling.frame.data_ptr(),
            codes.data_ptr(),
            self._scratch.data_ptr(),
            torch.get_num_threads(),
        )
        return codes

    def _predictor(self, parameters: Mapping[str, Tensor]) -> Predictor:
        shape, pack = self._shape, self._packing
        groups = range(shape.groups - 1)
        layers = [self._layer(parameters, f"model.layers.{index}.") for index in range(shape.layers)]
        heads = [pack.linear(parameters[f"lm_head.{group}.weight"]) for group in groups]
        tables = torch.stack(
            [parameters[f"model.codec_embedding.{group}.weight"].float() for group in groups]
        )
        project = Matrix()
        if "small_to_mtp_projection.weight" in parameters:
            weight = parameters["small_to_mtp_projection.weight"].float()
            bias = parameters["small_to_mtp_projection.bias"].float()
            project = pack.linear(weight, bias)
            tables = torch.nn.functional.linear(tables, weight, bias)
        return Predictor(
            layers=pack.array(PredictorLayer, layers),
            project=project,
            heads_of=pack.array(Matrix, heads),
            norm=pack.floats(parameters["model.norm.weight"]),
            embedding=pack.floats(tables),
            hidden=shape.hidden,
            intermediate=shape.intermediate,
            count=shape.layers,
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            vocab=shape.vocab,
            groups=shape.groups,
            eps=shape.eps,
        )

    def _layer(self, parameters: Mapping[str, Tensor], prefix: str) -> PredictorLayer:
        shape, pack = self._shape, self._packing

        def joined(*names: str) -> Matrix:
            return pack.linear(torch.cat([parameters[f"{prefix}{name}.weight"] for name in names]))

        norms = (parameters[f"{prefix}self_attn.{name}_norm.weight"] for name in ("q", "k"))
        cosine, sine = rotation(shape, *norms)
        return PredictorLayer(
            qkv=joined("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            out=joined("self_attn.o_proj"),
            gate_up=joined("mlp.gate_proj", "mlp.up_proj"),
            down=joined("mlp.down_proj"),
            input_norm=pack.floats(parameters[f"{prefix}input_layernorm.weight"]),
            post_norm=pack.floats(parameters[f"{prefix}post_attention_layernorm.weight"]),
            cosine=pack.floats(cosine),
            sine=pack.floats(sine),
        )
