"""Recovery of a codec, `python -m antiphon_nano.speech.recovery.codec_recovery CHECKPOINT HOME`.

A checkpoint holds no codec, but its vocoder holds the codebooks, rotated; an encoder is trained on what
the vocoder makes of codes. Writes HOME/codec.safetensors (mel decoder untrained) and codes of HOME/speech.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.checkpoint.voice_file import VoiceFile
from antiphon_executor.checkpoint.voices import SUFFIX, VOICES_FOLDER
from antiphon_executor.models.qwen3_5_omni.talker_prompt import VoicePrompt
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.talker import Talker
from antiphon_nano import training
from antiphon_nano.domain import corpus
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.codec.codec import GROUPS, WIDTH, Codec
from antiphon_nano.speech.codec.codec_training import encode
from antiphon_nano.speech.codec.mel import MELS
from antiphon_nano.speech.recordings import Recordings, step_rng
from antiphon_nano.speech.recovery import lockstep
from antiphon_nano.speech.vocoder.vocoder import features_of_rows
from antiphon_nano.speech.vocoder.vocoder_training import sounds_of
from antiphon_nano.teacher.shard import FRAME_SAMPLES

STEPS = 1600
_PIECES, _FRAMES = 10, 26
_ALONE = 200
"""Steps that train on pairs alone. Before them the encoder's output for other speech is meaningless."""
_PAIRS, _CODES, _COMMITMENT = 3.0, 0.2, 0.5
_SEED = 9000
"""Seed of the texts that the Talker speaks, far from those of the recordings."""
_AT_ONCE, _MOST_FRAMES = 32, 140
_MELS_PER_ROW = 2
_UNREMEMBERED = 8
"""Frames at the start of a piece for which the vocoder lacks context."""


def codebooks_of(vocoder: Qwen3OmniMoeCode2Wav) -> tuple[Tensor, Tensor]:
    """The codebooks [groups, entries, WIDTH], and the rotation [WIDTH, hidden] from their sum to a vocoder
    embedding.

    `vocoder.fresh_vocoder` builds the embedding this way, and training hardly leaves these directions.
    """
    rows = vocoder.code_embedding.weight.detach().unflatten(0, (GROUPS, -1)) / GROUPS
    turn = torch.linalg.svd(rows.flatten(0, 1), full_matrices=False)[2][:WIDTH]
    return rows @ turn.T, turn


class Pairs:
    """Codes [frames, groups] and what the vocoder makes of them: the only audio whose codes are known."""

    def __init__(self, vocoder: Qwen3OmniMoeCode2Wav, spoken: Sequence[Tensor]) -> None:
        self.codes = torch.cat(list(spoken))
        self.sound = torch.cat(sounds_of(vocoder, spoken)).clamp(-1, 1)

    def pieces(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Codes [pieces, frames, groups] and audio [pieces, samples], across the ends of utterances."""
        starts = rng.integers(len(self.codes) - _FRAMES + 1, size=_PIECES)
        sounds = self.sound.unflatten(0, (-1, FRAME_SAMPLES))
        codes, cut = ([t[at : at + _FRAMES] for at in starts] for t in (self.codes, sounds))
        return torch.stack(codes), torch.stack(cut).flatten(1)


class FeaturesToMel:
    """A linear map from a frozen vocoder's features to mel frames, by least squares."""

    def __init__(self, vocoder: Qwen3OmniMoeCode2Wav, turn: Tensor, codec: Codec, pairs: Pairs) -> None:
        self._vocoder = vocoder
        self._turn = turn
        with torch.no_grad():
            rows = self._features(codec.quantizer.decode(pairs.codes)[None])[0]
            mel = codec.normed_mel(pairs.sound[None])[0].T
            self._line = torch.linalg.lstsq(rows, mel.reshape(len(rows), -1)).solution

    def mel(self, vectors: Tensor) -> Tensor:
        """[streams, frames, WIDTH] to normalised mel [streams, MELS, frames * 8]."""
        made = self._features(vectors) @ self._line
        return made.unflatten(2, (_MELS_PER_ROW, MELS)).flatten(1, 2).transpose(1, 2)

    def _features(self, vectors: Tensor) -> Tensor:
        rows = features_of_rows(self._vocoder, vectors @ self._turn).transpose(1, 2)
        return functional.pad(rows, (0, 1), value=1.0)


class RecoveryTraining:
    """Trains the encoder on the codes of `pairs`, and on mel frames of the vocoder's features."""

    def __init__(
        self,
        speech: Recordings,
        codec: Codec,
        pairs: Pairs,
        ear: FeaturesToMel,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._speech, self._codec, self._pairs, self._ear = speech, codec, pairs, ear
        self._optimizer = optimizer
        self._left = _residual_energies(codec.quantizer.codebooks, pairs.codes)

    def step(self, number: int) -> Mapping[str, Tensor]:
        distance, labels = self._of_pairs(number)
        loss, losses = _PAIRS * distance + _CODES * labels, {"pairs": distance, "codes": labels}
        if number >= _ALONE:
            mel, square, commitment = self._of_speech(number)
            loss = loss + mel + 0.5 * square + _COMMITMENT * commitment
            losses |= {"mel": mel, "commitment": commitment}
        training.clipped_step(self._optimizer, loss)
        return losses

    def _of_pairs(self, number: int) -> tuple[Tensor, Tensor]:
        codes, sound = self._pairs.pieces(step_rng(12, number))
        codes, vectors = codes[:, 2:-2].flatten(0, 1), self._vectors(sound)[:, 2:-2].flatten(0, 1)
        codebooks, left, loss = self._codec.quantizer.codebooks, vectors, vectors.new_zeros(())
        for group, spread in enumerate(self._left):
            logits = -torch.cdist(left, codebooks[group]).square() / (16 * max(spread, 0.05))
            loss = loss + functional.cross_entropy(logits, codes[:, group]) / len(codebooks)
            left = left - codebooks[group][codes[:, group]]
        return functional.mse_loss(vectors, self._codec.quantizer.decode(codes)), loss

    def _of_speech(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        sound = self._speech.pieces(step_rng(11, number), _PIECES, _FRAMES * FRAME_SAMPLES)
        vectors = self._vectors(sound)
        quantized, _, commitment = self._codec.quantizer(vectors.flatten(0, 1))
        made, meant = self._ear.mel(quantized.view_as(vectors)), self._codec.normed_mel(sound)
        made, meant = (mel[..., _UNREMEMBERED * 8 :] for mel in (made, meant))
        return functional.l1_loss(made, meant), functional.mse_loss(made, meant), commitment

    def _vectors(self, sound: Tensor) -> Tensor:
        """[streams, frames, WIDTH]."""
        return self._codec.vectors(self._codec.normed_mel(sound)).unflatten(0, (len(sound), -1))


def _residual_energies(codebooks: Tensor, codes: Tensor) -> list[float]:
    """For each group, the mean square of the residual after it."""
    entries = torch.stack([book[codes[:, group]] for group, book in enumerate(codebooks)])
    left = entries.sum(0) - entries.cumsum(0)
    return left.square().mean((1, 2)).tolist()


def recovered(vocoder: Qwen3OmniMoeCode2Wav, speech: Recordings) -> tuple[Codec, Tensor]:
    """A codec with the vocoder's codebooks and an untrained encoder; and the rotation, see `codebooks_of`.

    The quantizer is frozen, and vectors are not normalised, because the codebooks fix their positions.
    """
    codec = Codec().eval()
    codebooks, turn = codebooks_of(vocoder)
    size = codebooks.pow(2).mean((1, 2)).sum().sqrt()
    codec.quantizer.codebooks.copy_(codebooks / size)
    codec.quantizer.started.fill_(True)
    mel = codec.mel(speech.pieces(step_rng(0, 2**31), 200, _FRAMES * FRAME_SAMPLES))
    codec.mean.copy_(mel.mean())
    codec.spread.copy_(mel.std())
    return codec, turn * size


def spoken(talker: Talker, voices: Sequence[VoiceFile], frames: int) -> list[Tensor]:
    """Codes of random texts in `voices`, about `frames` frames in all."""
    tokenizer = nano_tokenizer()
    ids: Mapping[str, int] = tokenizer.get_vocab()
    line, system = tokenizer.encode("\n"), tokenizer.encode("system\n")
    closing = (ids["<|im_end|>"], *line, ids["<|im_start|>"], ids["assistant"], *line, ids["<tts_text_bos>"])
    lots: dict[int, list[list[int]]] = defaultdict(list)
    made: list[Tensor] = []
    for text in corpus.trained(_SEED):
        lot = lots[len(tokens := tokenizer.encode(text))]
        lot.append(tokens)
        if len(lot) == _AT_ONCE:
            codes = np.array(voices[len(made) // _AT_ONCE % len(voices)].codes)
            voice = VoicePrompt((ids["<|im_start|>"], *system), codes, closing)
            with torch.no_grad():
                rows = torch.cat((talker.voice_rows(voice), talker.code_rows([talker.config.codec_bos_id])))
            made += lockstep.speak_all(talker, rows, lot, ids["<tts_text_eod>"], _MOST_FRAMES)
            lot.clear()
        if sum(map(len, made)) >= frames:
            return made
    raise AssertionError("the texts are endless")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--frames", type=int, default=20_000, help="frames that the Talker speaks, to train on"
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    home: Path = arguments.home
    model = Qwen3_5OmniMoeForConditionalGeneration.from_pretrained(arguments.checkpoint, dtype=torch.float32)
    model.eval().requires_grad_(False)
    files = sorted((arguments.checkpoint / VOICES_FOLDER).glob(f"*{SUFFIX}"))
    voices = [VoiceFile.model_validate_json(file.read_text(encoding="utf-8")) for file in files]
    pairs = Pairs(model.code2wav, spoken(model.talker, voices, arguments.frames))
    speech = Recordings(home / "speech")
    codec, turn = recovered(model.code2wav, speech)
    ear = FeaturesToMel(model.code2wav, turn, codec, pairs)
    optimizer = torch.optim.AdamW(codec.encoder.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
    plan = training.TrainingPlan(
        home / "codec.safetensors", arguments.steps, rate=2e-3, warmup=50, floor=0.02
    )
    run = training.Training(plan, {"codec": codec}, {"codec": optimizer})
    run.run(RecoveryTraining(speech, codec, pairs, ear, optimizer).step)
    encode(codec, home / "speech")


if __name__ == "__main__":
    main()
