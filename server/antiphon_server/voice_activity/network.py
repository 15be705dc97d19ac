"""Silero VAD's network for 16 kHz in numpy: a spectrum, four convolutions, one recurrent layer.

Channels come last. One call is one frame of each stream.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.numpy import load_file

from antiphon_server.voice_activity.stream import CONTEXT

FRAME = 512
_WEIGHTS = Path(__file__).parent / "silero" / "silero_vad_16k.safetensors"
_BINS, _HOP, _WINDOW = 129, 128, 256

Array = NDArray[np.float32]


class SpeechNetwork:
    """Its weights do not change, so that threads can share it."""

    def __init__(self, path: Path = _WEIGHTS) -> None:
        weights = load_file(path)
        self._spectrum = np.ascontiguousarray(weights["stft_conv.weight"][:, 0].T)
        self._convolutions = [
            _Convolution(weights[f"conv{number}.weight"], weights[f"conv{number}.bias"], stride)
            for number, stride in ((1, 1), (2, 2), (3, 2), (4, 1))
        ]
        recurrent = np.concatenate((weights["lstm_cell.weight_ih"], weights["lstm_cell.weight_hh"]), axis=1)
        self._recurrent = np.ascontiguousarray(recurrent.T)
        self._recurrent_bias = weights["lstm_cell.bias_ih"] + weights["lstm_cell.bias_hh"]
        self._out = weights["final_conv.weight"][0, :, 0]
        self._out_bias = weights["final_conv.bias"][0]

    def score(self, samples: Array, hidden: Array, cell: Array) -> tuple[Array, Array, Array]:
        """Probabilities [B], and the new `hidden` and `cell` [B, 128].

        `samples` [B, 64 + 512]: within -1 to 1, each frame behind the last samples of the one before.
        """
        padded = np.concatenate((samples, samples[:, -2 : -2 - CONTEXT : -1]), axis=1)
        windows = sliding_window_view(padded, _WINDOW, axis=1)[:, ::_HOP]
        waves = windows @ self._spectrum
        x = np.sqrt(np.square(waves[..., :_BINS]) + np.square(waves[..., _BINS:]))
        for convolution in self._convolutions:
            x = convolution.apply(x)
        gates = np.concatenate((x[:, 0], hidden), axis=1) @ self._recurrent + self._recurrent_bias
        take, forget, new, give = np.split(gates, 4, axis=1)
        cell = _sigmoid(forget) * cell + _sigmoid(take) * np.tanh(new)
        hidden = _sigmoid(give) * np.tanh(cell)
        return _sigmoid(np.maximum(hidden, 0) @ self._out + self._out_bias), hidden, cell


class _Convolution:
    """Three taps with padding, then ReLU."""

    def __init__(self, weight: Array, bias: Array, stride: int) -> None:
        outputs, inputs, taps = weight.shape
        self._weight = np.ascontiguousarray(weight.transpose(1, 2, 0).reshape(inputs * taps, outputs))
        self._bias = bias
        self._stride = stride

    def apply(self, x: Array) -> Array:
        edge = np.zeros_like(x[:, :1])
        padded = np.concatenate((edge, x, edge), axis=1)
        windows = sliding_window_view(padded, 3, axis=1)[:, :: self._stride]
        return np.maximum(windows.reshape(*windows.shape[:2], -1) @ self._weight + self._bias, 0)


def _sigmoid(x: Array) -> Array:
    # tanh does not overflow.
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5, np.float32)
