"""The Thinker: token ids and media features in, logits and hidden states out. Differentiable.

Composed of transformers' Qwen3.5 text and vision modules and our audio encoder. One prompt at a time, without
a cache: `generate` computes the whole sequence for every token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeTextModel, Qwen3_5MoeVisionModel

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeThinkerConfig
from antiphon_executor.reference.audio_encoder import AudioEncoder


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """The patches of one picture or video, from transformers' Qwen processors.

    `pixels`: [patches, channels * temporal * patch * patch]; `grid`: (time, height, width) in patches.
    """

    pixels: Tensor
    grid: tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ThinkerPrompt:
    """`token_ids` [n] and `positions` [3, n] of an expanded prompt, and its media, each kind in order.

    `sounds`: mel frames [mel_bins, frames], including those of videos.
    """

    token_ids: Tensor
    positions: Tensor
    sounds: tuple[Tensor, ...] = ()
    pictures: tuple[Patches, ...] = ()
    videos: tuple[Patches, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ThinkerOutput:
    """`logits` [n, vocab]; `layers`: [n, hidden] each: the embeddings at 0, layer k's output at k.

    The last entry is after the final norm, as in transformers' `hidden_states`.
    """

    logits: Tensor
    layers: tuple[Tensor, ...] = field(repr=False)


class Thinker(PreTrainedModel):
    """Parameters: `audio_tower`, `visual`, `model`, `lm_head`, as in Qwen3-Omni."""

    config_class = Qwen3_5OmniMoeThinkerConfig
    _supports_sdpa = True

    def __init__(self, config: Qwen3_5OmniMoeThinkerConfig) -> None:
        super().__init__(config)
        self.audio_tower = AudioEncoder(config.audio_config)
        self.visual = Qwen3_5MoeVisionModel(config.vision_config)
        self.model = Qwen3_5MoeTextModel(config.text_config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def forward(self, prompt: ThinkerPrompt) -> ThinkerOutput:
        return self.run(self.embedded(prompt), prompt.positions)

    def run(self, rows: Tensor, positions: Tensor) -> ThinkerOutput:
        """`rows` [n, hidden] of one sequence from its beginning; `positions` [3, n]."""
        states = self.model(
            inputs_embeds=rows[None],
            position_ids=positions[:, None],
            use_cache=False,
            output_hidden_states=True,
        )
        layers = tuple(layer[0] for layer in states.hidden_states)
        return ThinkerOutput(self.lm_head(states.last_hidden_state[0]), layers)

    def embedded(self, prompt: ThinkerPrompt) -> Tensor:
        """[n, hidden]: text embeddings, with the rows of media at the places of their tokens.

        ValueError if a kind of media has a different number of rows than of tokens.
        """
        rows = self.model.embed_tokens(prompt.token_ids)
        kinds = (
            (self.config.audio_token_id, [self.audio_tower(mel) for mel in prompt.sounds]),
            (self.config.image_token_id, self._encode_vision(prompt.pictures)),
            (self.config.video_token_id, self._encode_vision(prompt.videos)),
        )
        for token, media in kinds:
            places = (prompt.token_ids == token).nonzero().squeeze(1)
            if len(places) != sum(len(part) for part in media):
                raise ValueError(
                    f"the prompt has {len(places)} tokens {token}, its media a different number of rows"
                )
            if media:
                rows = rows.index_copy(0, places, torch.cat(media))
        return rows

    @torch.no_grad()
    def generate(self, prompt: ThinkerPrompt, max_tokens: int, end: int) -> list[int]:
        """The greedy answer without `end`. All its tokens count as text, even a placeholder."""
        rows, positions = self.embedded(prompt), prompt.positions
        answer: list[int] = []
        for following in range(int(positions.max()) + 1, int(positions.max()) + 1 + max_tokens):
            token = self.run(rows, positions).logits[-1:].argmax(-1)
            if int(token) == end:
                break
            answer.append(int(token))
            rows = torch.cat((rows, self.model.embed_tokens(token)))
            positions = torch.cat((positions, positions.new_full((3, 1), following)), dim=1)
        return answer

    def _encode_vision(self, media: tuple[Patches, ...]) -> list[Tensor]:
        if not media:
            return []
        pixels = torch.cat([medium.pixels for medium in media])
        grids = torch.tensor([medium.grid for medium in media], device=pixels.device)
        return [self.visual(pixels, grid_thw=grids).pooler_output]
