"""The Thinker as transformers runs it, in float32: a conversation's answer, hidden states and positions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration, Qwen3OmniMoeProcessor

from antiphon_executor.interface.media import AudioClip
from tests.parity.thinker.conversations import Conversation


@dataclass(frozen=True)
class Truth:
    """`margin`: the least lead of a chosen token's logit over the next best."""

    prompt_token_ids: list[int]
    answer: list[int]
    positions: NDArray[np.float64]
    hidden: NDArray[np.float32]
    margin: float


class Oracle:
    def __init__(self, checkpoint: Path) -> None:
        model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self.config = model.config
        self.thinker = model.thinker
        self.thinker.generation_config.eos_token_id = None
        self.encode = self.thinker.get_audio_features
        self.thinker.get_audio_features = self.encode_each
        self.processor = Qwen3OmniMoeProcessor.from_pretrained(checkpoint)
        # Several tests ask for the same.
        self.answer: Callable[[Conversation, int], Truth] = cache(self._answer)

    def _answer(self, conversation: Conversation, tokens: int) -> Truth:
        """Greedy, without an end: exactly `tokens` tokens."""
        inputs = self.inputs(conversation)
        with torch.no_grad():
            result = self.thinker.generate(
                **inputs,
                max_new_tokens=tokens,
                do_sample=False,
                output_hidden_states=True,
                output_logits=True,
                return_dict_in_generate=True,
            )
        length = inputs["input_ids"].shape[1]
        best = torch.stack(result.logits).float().topk(2, dim=-1).values
        return Truth(
            prompt_token_ids=inputs["input_ids"][0].tolist(),
            answer=result.sequences[0, length:].tolist(),
            positions=self.positions(inputs),
            hidden=result.hidden_states[0][self.config.talker_config.accept_hidden_layer][0].numpy(),
            margin=float((best[..., 0] - best[..., 1]).min()),
        )

    def hidden(self, inputs: dict[str, Any], positions: NDArray[np.float64]) -> NDArray[np.float32]:
        """The accept layer's states [tokens, hidden] of one pass over `inputs`, at the given positions."""
        with torch.no_grad():
            states = self.thinker(
                **inputs, position_ids=torch.from_numpy(positions)[:, None].float(), output_hidden_states=True
            ).hidden_states
        return states[self.config.talker_config.accept_hidden_layer][0].numpy()

    def encode_each(self, features: torch.Tensor, mask: torch.Tensor, *_: object, **kwargs: Any) -> Any:
        """The audio tower, clip by clip: in a batch, it pads a clip of under a second to its neighbours."""
        clips = [
            self.encode(clip[None, :, : int(valid.sum())], valid[None, : int(valid.sum())], **kwargs)
            for clip, valid in zip(features, mask, strict=True)
        ]
        return SimpleNamespace(last_hidden_state=torch.cat([clip.last_hidden_state for clip in clips]))

    def inputs(self, conversation: Conversation) -> dict[str, torch.Tensor]:
        """As the processor makes them, but: each clip's features as if it were alone, each video's own rate.

        The processor pads the clips of a batch to one length before their spectrum is taken, so that the last
        frame of a clip depends on its neighbours; and it takes one frame rate for all videos.
        """
        media = conversation.media
        with_sound = any(clip.audio for clip in media.videos)
        clips = self.heard_in_order(conversation)
        inputs = self.processor(
            text=conversation.prompt,
            audio=[clip.samples for clip in clips] or None,
            images=[image.pixels for image in media.images] or None,
            videos=[clip.frames for clip in media.videos] or None,
            use_audio_in_video=with_sound,
            fps=media.videos[0].frames_per_second if media.videos else None,
            do_sample_frames=False,
            return_tensors="pt",
        )
        features = dict(inputs)
        if clips:
            self.replace_sounds(features, clips)
        if media.videos:
            patch = self.processor.video_processor.temporal_patch_size
            features["video_second_per_grid"] = torch.tensor(
                [patch / clip.frames_per_second for clip in media.videos]
            )
            features["use_audio_in_video"] = with_sound
        return features

    def heard_in_order(self, conversation: Conversation) -> list[AudioClip]:
        """Every sound, those of videos included, in the order of the prompt."""
        audios, videos = iter(conversation.media.audios), iter(conversation.media.videos)
        clips = []
        for part in conversation.prompt.split("<|")[1:]:
            if part.startswith("audio_pad"):
                clips.append(next(audios))
            if part.startswith("video_pad") and (heard := next(videos).audio):
                clips.append(heard)
        return clips

    def replace_sounds(self, features: dict[str, torch.Tensor], clips: list[AudioClip]) -> None:
        for index, clip in enumerate(clips):
            alone = self.processor.feature_extractor(
                clip.samples,
                sampling_rate=16_000,
                padding=True,
                truncation=False,
                return_attention_mask=True,
                return_tensors="pt",
            )
            mask = alone["attention_mask"][0].bool()
            assert int(mask.sum()) == int(features["feature_attention_mask"][index].sum())
            features["input_features"][index, :, : int(mask.sum())] = alone["input_features"][0][:, mask]

    def positions(self, inputs: dict[str, torch.Tensor]) -> NDArray[np.float64]:
        mask = inputs.get("feature_attention_mask")
        positions, _ = self.thinker.get_rope_index(
            inputs["input_ids"],
            inputs.get("image_grid_thw"),
            inputs.get("video_grid_thw"),
            inputs["attention_mask"],
            bool(inputs.get("use_audio_in_video", False)),
            None if mask is None else mask.sum(-1),
            inputs.get("video_second_per_grid"),
        )
        return positions[:, 0].double().numpy()
