"""The shared library of C++ kernels, and the structures that its functions read."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import torch

VERSION = 2
"""Must equal `ANTIPHON_VERSION` of version.cpp: an editable installation may have an older build."""

MAX_VOCAB = 8192
"""MAX_VOCAB of draw.h."""

# By what `torch.backends.cpu.get_cpu_capability` says.
_BUILDS = {"AVX512": ("frame_v4", "frame_v3"), "AVX2": ("frame_v3",)}


class Matrix(ctypes.Structure):
    """`Matrix` of matrix.h."""

    _fields_ = [
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("taps", c_int32),
        ("dilation", c_int32),
    ]


class PredictorLayer(ctypes.Structure):
    """`Layer` of predictor.cpp."""

    _fields_ = [
        ("qkv", Matrix),
        ("out", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("input_norm", c_void_p),
        ("post_norm", c_void_p),
        ("cosine", c_void_p),
        ("sine", c_void_p),
    ]


class Predictor(ctypes.Structure):
    """`Predictor` of predictor.cpp."""

    _fields_ = [
        ("layers", POINTER(PredictorLayer)),
        ("project", Matrix),
        ("heads_of", POINTER(Matrix)),
        ("norm", c_void_p),
        ("embedding", c_void_p),
        ("hidden", c_int32),
        ("intermediate", c_int32),
        ("count", c_int32),
        ("heads", c_int32),
        ("kv_heads", c_int32),
        ("head_dim", c_int32),
        ("vocab", c_int32),
        ("groups", c_int32),
        ("eps", c_float),
    ]


class VocoderLayer(ctypes.Structure):
    """`Layer` of vocoder.cpp."""

    _fields_ = [
        ("qkv", Matrix),
        ("out", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("input_norm", c_void_p),
        ("post_norm", c_void_p),
        ("attention_scale", c_void_p),
        ("mlp_scale", c_void_p),
    ]


class Stage(ctypes.Structure):
    """`Stage` of vocoder.cpp."""

    _fields_ = [
        ("conv", Matrix),
        ("widen", Matrix),
        ("narrow", Matrix),
        ("rate", c_void_p),
        ("gain", c_void_p),
        ("norm_weight", c_void_p),
        ("norm_bias", c_void_p),
        ("gamma", c_void_p),
        ("tail_offset", c_int64),
        ("tail_steps", c_int32),
        ("tail_channels", c_int32),
        ("lead_in", c_int32),
        ("steps", c_int32),
        ("kind", c_int32),
    ]


class Vocoder(ctypes.Structure):
    """`Vocoder` of vocoder.cpp."""

    _fields_ = [
        ("layers", POINTER(VocoderLayer)),
        ("stages", POINTER(Stage)),
        ("embedding", c_void_p),
        ("norm", c_void_p),
        ("frequencies", POINTER(c_double)),
        ("tails", c_void_p),
        ("rings", c_void_p),
        ("positions", c_void_p),
        ("tail_floats", c_int64),
        ("row_floats", c_int64),
        ("codebook", c_int32),
        ("groups", c_int32),
        ("hidden", c_int32),
        ("intermediate", c_int32),
        ("count", c_int32),
        ("heads", c_int32),
        ("kv_heads", c_int32),
        ("head_dim", c_int32),
        ("ring", c_int32),
        ("stage_count", c_int32),
        ("shared_stages", c_int32),
        ("eps", c_float),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """The build for this machine; None if there is none, or an older one."""
    for name in _BUILDS.get(torch.backends.cpu.get_cpu_capability(), ()):
        for path in Path(__file__).parent.glob(f"{name}.*so"):
            if (found := _open(path)) is not None:
                return found
    return None


def _open(path: Path) -> ctypes.CDLL | None:
    try:
        found = ctypes.CDLL(str(path))
        version = int(found.antiphon_version())
    except (OSError, AttributeError):
        return None
    if version != VERSION:
        return None
    tensors: list[Any] = [c_void_p]
    found.antiphon_predictor_row_floats.argtypes = [POINTER(Predictor)]
    found.antiphon_predictor_row_floats.restype = c_int64
    predictor: list[Any] = [POINTER(Predictor), *tensors * 2, c_int32, *tensors * 7, c_int32]
    found.antiphon_predictor_run.argtypes = predictor
    found.antiphon_predictor_run.restype = None
    found.antiphon_draw_code0.argtypes = [*tensors * 3, c_int32, c_int32, *tensors * 7]
    found.antiphon_draw_code0.restype = None
    vocoder: list[Any] = [POINTER(Vocoder), *tensors * 2, c_int32, c_void_p, c_int64, c_void_p, c_int32]
    found.antiphon_vocoder_run.argtypes = vocoder
    found.antiphon_vocoder_run.restype = None
    return found
