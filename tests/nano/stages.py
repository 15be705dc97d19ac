"""The files of the stages with random weights: the input of an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.tiny import end_tokens, weights
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.recordings import CODES
from antiphon_nano.speech.talker.talker_start import fresh_talker
from antiphon_nano.speech.vocoder.vocoder import fresh_vocoder
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import FRAME_SAMPLES, Utterance
from antiphon_nano.thinker.network import network
from antiphon_nano.training import Training, TrainingPlan

SAID = ("The dog sleeps.", "Walk slowly to the river.", "The dog sees a cat and walks away.")
FRAMES = 40


def write_stages(home: Path) -> Path:
    """Writes Thinker, Talker and vocoder as their stages save them, and speech with codes."""
    torch.manual_seed(0)
    tokenizer = nano_tokenizer()
    config = nano(tokenizer.get_vocab())
    codebooks = torch.randn(8, 512, 64)
    thinker = network.nano_thinker(config.thinker_config)
    _fill(thinker)
    # With random weights, answers would not end.
    whole = Qwen3_5OmniMoeForConditionalGeneration(config)
    whole.thinker = thinker
    with torch.no_grad():
        end_tokens.make_text_end(whole, spoken_tokens=len(tokenizer.get_vocab()) - 33)
    talker = fresh_talker(config.talker_config, codebooks)
    vocoder = fresh_vocoder(config.code2wav_config, codebooks)
    for name, module in (("thinker", thinker), ("talker", talker), ("vocoder", vocoder)):
        _save(home / f"{name}.safetensors", name, _rounded(module) if name != "vocoder" else module)
    for kind in ("train-000", "held-heart", "held-deep"):
        _speak(home / "speech" / kind, kind.removeprefix("held-") if "held" in kind else "heart")
    return home


def _fill(module: nn.Module) -> None:
    with torch.no_grad():
        weights.fill(module, 0)


def _rounded(module: nn.Module) -> nn.Module:
    """Rounds weights to bfloat16, so that the export equals what was saved."""
    for parameter in module.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return module


def _save(path: Path, name: str, module: nn.Module) -> None:
    Training(TrainingPlan(path, 1, 1.0), {name: module}, {}).save()


def _speak(path: Path, voice: str) -> None:
    utterances, first = [], 0
    for text in SAID:
        tokens = len(nano_tokenizer().encode(text))
        starts = [int(start) for start in np.linspace(1, FRAMES - 3, tokens)]
        utterances.append(Utterance(text, voice, first, FRAMES, starts, [5] * FRAMES))
        first += FRAMES
    noise = np.random.default_rng(len(path.name)).uniform(-0.1, 0.1, first * FRAME_SAMPLES)
    shard.write(path, utterances, [noise.astype(np.float32)])
    codes = np.random.default_rng(len(path.name)).integers(0, 512, (first, 8)).astype(np.int16)
    np.save(path.with_name(path.name + CODES), codes)
