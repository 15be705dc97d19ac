"""The reference Thinker on batches of dialogues, padded on the right.

Every layer is causal, so padding after the end of a dialogue does not change it: each row equals the
reference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, Qwen2Tokenizer
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeTextModel

from antiphon_executor.models.qwen3_5_omni import presets
from antiphon_executor.reference.audio_encoder import AudioEncoder
from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.thinker.dialogue import Clip, Picture, Sample, Sound

_CHUNK = 32
"""Chunk of the gated delta rule in tokens. Dialogues are short, and are padded to whole chunks."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """`token_ids` [n, length]; `positions` [3, n, length]; `answers` bool [n, length]; media in order.

    `clips`: sounds of dialogues and of videos, in the order of their tokens.
    """

    token_ids: Tensor
    positions: Tensor
    answers: Tensor
    clips: tuple[Sound, ...]
    pictures: tuple[Picture, ...]
    videos: tuple[Clip, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Batch:
        length = max(len(sample.token_ids) for sample in samples)
        token_ids = np.zeros((len(samples), length), np.int64)
        positions = np.zeros((3, len(samples), length), np.int64)
        answers = np.zeros((len(samples), length), np.bool_)
        for place, sample in enumerate(samples):
            size = len(sample.token_ids)
            token_ids[place, :size] = sample.token_ids
            positions[:, place, :size] = sample.positions
            answers[place, :size] = sample.answers
        media = [medium for sample in samples for medium in sample.media]
        return cls(
            torch.from_numpy(token_ids),
            torch.from_numpy(positions),
            torch.from_numpy(answers),
            tuple(sound for medium in media if (sound := heard(medium))),
            tuple(medium for medium in media if isinstance(medium, Picture)),
            tuple(medium for medium in media if isinstance(medium, Clip)),
        )


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Ids, positions and answers on `device`. Media are moved when they are read."""
    tensors = (batch.token_ids, batch.positions, batch.answers)
    token_ids, positions, answers = (tensor.to(device) for tensor in tensors)
    return replace(batch, token_ids=token_ids, positions=positions, answers=answers)


def heard(medium: Sound | Picture | Clip) -> Sound | None:
    """The sound of a medium, if any."""
    if isinstance(medium, Clip):
        return medium.sound
    return medium if isinstance(medium, Sound) else None


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """`rows` [n, length, hidden], and the towers' output: `listened` [tokens, d_model] of all clips before
    the projection, `sound` [tokens, hidden] after it; `seen` [tokens, hidden] of pictures, then of videos.
    """

    rows: Tensor
    listened: Tensor | None
    sound: Tensor | None
    seen: Tensor | None


def nano_config(tokenizer: Qwen2Tokenizer) -> PreTrainedConfig:
    """The preset's Thinker configuration for a tokenizer's vocabulary."""
    config: PreTrainedConfig = presets.nano(tokenizer.get_vocab()).thinker_config
    return config


def nano_thinker(config: PreTrainedConfig) -> Thinker:
    """Random weights. The experts are called one by one, which is faster than grouped on a CPU."""
    thinker = Thinker(config)
    thinker.model.config._experts_implementation = "eager"
    return thinker


def states(model: Qwen3_5MoeTextModel, rows: Tensor, positions: Tensor) -> Tensor:
    """`rows` [n, length, hidden], `positions` [3, n, length] to the last hidden states."""
    output = model(inputs_embeds=rows, position_ids=positions, use_cache=False, chunk_size=_CHUNK)
    last: Tensor = output.last_hidden_state
    return last


def embed(thinker: Thinker, batch: Batch) -> Encoded:
    """Text embeddings, with the towers' output at the positions of media."""
    rows = thinker.model.embed_tokens(batch.token_ids)
    ids, config = batch.token_ids, thinker.config
    listened = sound = seen = None
    if batch.clips:
        listened = audio_states(thinker.audio_tower, [clip.mel for clip in batch.clips])
        sound = projected(thinker.audio_tower, listened)
        rows = insert_media(rows, ids == config.audio_token_id, sound)
    for token, media in ((config.image_token_id, batch.pictures), (config.video_token_id, batch.videos)):
        if media:
            part = vision_rows(thinker.visual, media)
            rows = insert_media(rows, ids == token, part)
            seen = part if seen is None else torch.cat((seen, part))
    return Encoded(rows, listened, sound, seen)


def vision_rows(tower: nn.Module, media: Sequence[Picture | Clip]) -> Tensor:
    """The vision tower's output for pictures and clips, [cells of all, hidden]."""
    device = next(tower.parameters()).device
    pixels = torch.cat([medium.patches.pixels for medium in media]).to(device)
    grids = torch.tensor([medium.patches.grid for medium in media], device=device)
    rows: Tensor = tower(pixels, grid_thw=grids).pooler_output
    return rows


def audio_states(tower: AudioEncoder, mels: Sequence[Tensor]) -> Tensor:
    """Mel frames [mel_bins, frames] of clips to [tokens of all, d_model], before the tower's projection."""
    window = tower.geometry.window_frames
    filled = [functional.pad(mel, (0, -mel.shape[1] % window)) for mel in mels]
    device = tower.proj1.weight.device
    rows = tower._convolved(torch.cat(filled, dim=1).to(device)).unflatten(
        0, (-1, tower.geometry.window_tokens)
    )
    block = tower.config.n_window_infer // window * tower.geometry.window_tokens
    kept, edges, done = [], [0], 0
    for mel, full in zip(mels, filled, strict=True):
        windows, tokens, start = full.shape[1] // window, tower.geometry.tokens(mel.shape[1]), edges[-1]
        kept.append(rows[done : done + windows].flatten(0, 1)[:tokens])
        edges += [start + min(end, tokens) for end in range(block, tokens + block, block)]
        done += windows
    listened, lengths = torch.cat(kept), torch.tensor(sorted(set(edges)), dtype=torch.int32, device=device)
    for layer in tower.layers:
        (listened,) = layer(listened, lengths)
    normed: Tensor = tower.ln_post(listened)
    return normed


def projected(tower: AudioEncoder, listened: Tensor) -> Tensor:
    """[tokens, d_model] to [tokens, hidden], the last step of the tower."""
    rows: Tensor = tower.proj2(functional.gelu(tower.proj1(listened)))
    return rows


def insert_media(rows: Tensor, places: Tensor, media: Tensor) -> Tensor:
    """`rows` [n, length, hidden] with `media` where `places` is true. Raises ValueError if the numbers
    differ.
    """
    if int(places.sum()) != len(media):
        raise ValueError(f"{len(media)} rows of media for {int(places.sum())} positions")
    return rows.masked_scatter(places[..., None], media.to(rows.dtype))


def answer_loss(thinker: Thinker, batch: Batch, last: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of the answers' tokens, and the share of them that greedy decoding gets right."""
    targets = batch.answers[:, 1:]
    logits = thinker.lm_head(last[:, :-1][targets]).float()
    wanted = batch.token_ids[:, 1:][targets]
    return functional.cross_entropy(logits, wanted), (logits.argmax(-1) == wanted).float().mean()


class ExpertBalance:
    """Keeps all experts in use: the load-balancing loss of Switch Transformers, read by hooks."""

    def __init__(self, model: nn.Module) -> None:
        self._seen: list[Tensor] = []
        self._routers = [m for m in model.modules() if type(m).__name__ == "Qwen3_5MoeTopKRouter"]
        for router in self._routers:
            router.register_forward_hook(self._keep)

    def _keep(self, router: nn.Module, _: object, output: tuple[Tensor, Tensor, Tensor]) -> None:
        logits, _, chosen = output
        share = functional.one_hot(chosen, logits.shape[-1]).float().sum(1).mean(0)
        self._seen.append((share * logits.float().softmax(-1).mean(0)).sum() * logits.shape[-1])

    def loss(self) -> Tensor:
        """The loss of the passes since the last call; about `num_experts_per_tok` if all experts are used
        equally.
        """
        total = torch.stack(self._seen).mean()
        self._seen.clear()
        return total
