"""The teacher: hibari-tts, with its graph split at the durations, so that they can be read and set.

Text to 24 kHz speech whose words begin on codec frames. Two voices: its own, and a deeper one, synthesised
one sixth shorter and slowed down.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from hibari import Hibari, dsp
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.signal import resample_poly

from antiphon_nano.domain.corpus import units
from antiphon_nano.teacher.alignment import UNITS_PER_FRAME, AlignedDurations, snap_to_frames
from antiphon_nano.teacher.shard import FRAME_SAMPLES, Utterance
from antiphon_nano.teacher.trim import clipped_starts, kept_frames

DURATIONS = "/Cast_32_output_0"
"""The tensor of hibari-tts 0.2.1 with the units of each phoneme, whole numbers."""
_INPUTS = ("ids", "speed")


@dataclass(frozen=True, slots=True)
class Voice:
    """`stretch`: output and input samples of the resampling that lowers pitch and formants."""

    name: str
    stretch: tuple[int, int]


HEART = Voice("heart", (1, 1))
DEEP = Voice("deep", (6, 5))
VOICES = {voice.name: voice for voice in (HEART, DEEP)}


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSpeech:
    """`sound`: float32 [frames * 1920]."""

    sound: NDArray[np.float32]
    starts: list[int]
    phonemes: list[int]

    def utterance(self, text: str, voice: Voice, first_frame: int) -> Utterance:
        """The record of this speech in a shard, from `first_frame` on."""
        frames = len(self.sound) // FRAME_SAMPLES
        return Utterance(text, voice.name, first_frame, frames, self.starts, self.phonemes)


class Teacher:
    """Synthesises a text in a voice. Deterministic, one thread."""

    def __init__(self) -> None:
        self._hibari = Hibari()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        graph = Path(self._hibari.model_path)
        self._durations = onnxruntime.InferenceSession(_durations_graph(graph), options)
        self._spectra = onnxruntime.InferenceSession(_spectra_graph(graph), options)

    def natural(self, text: str) -> NDArray[np.float32]:
        """The teacher's own reading without alignment: the reference of judges."""
        return self._hibari(text, seed=0)

    def speak(self, text: str, voice: Voice = HEART) -> AlignedSpeech:
        """Raises ValueError if the teacher joins or splits words: such a text cannot be aligned."""
        sounds, starts, labels = [], [], []
        frames = 0
        for phonemes in self._hibari.phonemize(text):
            ids = np.array([self._hibari.ids(phonemes)])
            feeds = {"ids": ids, "speed": np.ones(1, np.float32)}
            (natural,) = self._durations.run(None, feeds)
            snapped = snap_to_frames(
                phonemes, natural.tolist(), UNITS_PER_FRAME * voice.stretch[1] / voice.stretch[0]
            )
            sounds.append(self._sound(ids, snapped, voice))
            starts += [frames + start for start in snapped.starts]
            labels += _phoneme_of_each_frame(ids[0], snapped)
            frames += snapped.frames
        if len(starts) != len(units(text)):
            raise ValueError(f"{len(starts)} aligned words for the {len(units(text))} tokens of {text!r}")
        sound = np.concatenate(sounds)
        frames = kept_frames(sound)
        return AlignedSpeech(sound[: frames * FRAME_SAMPLES], clipped_starts(starts, frames), labels[:frames])

    def _sound(self, ids: NDArray[np.int64], snapped: AlignedDurations, voice: Voice) -> NDArray[np.float32]:
        durations = np.array(snapped.durations, np.int64)
        spectra = self._spectra.run(None, {"ids": ids, DURATIONS: durations})
        sound = dsp.synth(*(part[0] for part in spectra), _EvenNoise())
        if voice.stretch[0] != voice.stretch[1]:
            sound = resample_poly(sound, *voice.stretch).astype(np.float32)
        whole = np.zeros(snapped.frames * FRAME_SAMPLES, np.float32)
        end = min(len(whole), len(sound))
        whole[:end] = sound[:end]
        return whole


class _EvenNoise:
    """Noise of constant magnitude and random phase: fricatives stay noise, but their codes vary less."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def standard_normal(self, shape: tuple[int, int], dtype: type = np.float32) -> NDArray[np.float32]:
        """[bins, 2 * frames]: the interface that the teacher's signal processing expects of a generator."""
        angle = self._rng.random((shape[0], shape[1] // 2), dtype=np.float32) * (2 * np.pi)
        noise: NDArray[np.float32] = np.empty(shape, dtype)
        noise[:, ::2], noise[:, 1::2] = 1.25 * np.cos(angle), 1.25 * np.sin(angle)
        return noise


def _phoneme_of_each_frame(ids: NDArray[np.int64], snapped: AlignedDurations) -> list[int]:
    spoken = np.repeat(ids, snapped.durations)
    middles = (np.arange(snapped.frames) + 0.5) * len(spoken) / snapped.frames
    return [int(spoken[int(middle)]) for middle in middles]


def _durations_graph(path: Path) -> bytes:
    model = onnx.load(path)
    _keep_what_makes(model, [DURATIONS], set(_INPUTS))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(DURATIONS, TensorProto.INT64, None))
    return model.SerializeToString()


def _spectra_graph(path: Path) -> bytes:
    model = onnx.load(path)
    _keep_what_makes(model, [out.name for out in model.graph.output], {"ids", DURATIONS})
    read = {name for node in model.graph.node for name in node.input}
    kept = [given for given in model.graph.input if given.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.input.append(helper.make_tensor_value_info(DURATIONS, TensorProto.INT64, None))
    return model.SerializeToString()


def _keep_what_makes(model: onnx.ModelProto, outputs: list[str], given: set[str]) -> None:
    """Keeps the nodes that `outputs` depend on, given the tensors in `given`."""
    needed, kept = set(outputs), []
    for node in reversed(model.graph.node):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(name for name in node.input if name and name not in given)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
