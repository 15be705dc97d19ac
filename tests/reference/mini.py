"""A Qwen3.5-Omni smaller than any preset, with random weights so large that no two codes nearly tie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.prompt import Medium, Picture, PromptRules, Sound, Video
from antiphon_executor.models.qwen3_5_omni.talker_prompt import VoicePrompt
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.thinker import Patches, ThinkerPrompt

AUDIO, AUDIO_START, AUDIO_END, IMAGE, VIDEO, VISION_START, VISION_END = range(7)
IM_START, IM_END, TTS_PAD, TTS_BOS, TTS_EOS, SYSTEM, USER, ASSISTANT, NEWLINE = range(7, 16)
DIGITS, VOCAB = 20, 60
CODES, GROUPS, CODEC_VOCAB, EOS = 64, 4, 80, 66
PREDICTOR = {
    "vocab_size": CODES,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
_ATTENTION: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "linear_num_key_heads": 1,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "partial_rotary_factor": 0.5,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
    },
}
MOE = _ATTENTION | {
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
}
DENSE = _ATTENTION | {"model_type": "qwen3_5_text", "intermediate_size": 48}
AUDIO_TOWER = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "downsample_hidden_size": 4,
    "output_dim": 32,
}
VISION_TOWER = {
    "depth": 2,
    "hidden_size": 32,
    "num_heads": 2,
    "intermediate_size": 48,
    "num_position_embeddings": 64,
    "patch_size": 4,
    "out_hidden_size": 32,
}
CODE2WAV = {
    "codebook_size": CODES,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "decoder_dim": 32,
}


def mini_config(talker_text: dict[str, Any] = MOE, predictor_hidden: int = 24) -> Qwen3_5OmniMoeConfig:
    return Qwen3_5OmniMoeConfig(
        thinker_config={
            "text_config": MOE,
            "audio_config": AUDIO_TOWER,
            "vision_config": VISION_TOWER,
            "audio_token_id": AUDIO,
            "audio_start_token_id": AUDIO_START,
            "audio_end_token_id": AUDIO_END,
            "image_token_id": IMAGE,
            "video_token_id": VIDEO,
            "vision_start_token_id": VISION_START,
            "vision_end_token_id": VISION_END,
        },
        talker_config={
            "text_config": talker_text,
            "code_predictor_config": PREDICTOR | {"hidden_size": predictor_hidden},
            "num_code_groups": GROUPS,
            "codec_vocab_size": CODEC_VOCAB,
            "suppressed_codes": CODEC_VOCAB - CODES,
            "codec_pad_id": CODES,
            "codec_bos_id": CODES + 1,
            "codec_eos_token_id": EOS,
            "accept_hidden_layer": 2,
            "max_media_rows": 12,
        },
        code2wav_config=CODE2WAV,
        im_start_token_id=IM_START,
        im_end_token_id=IM_END,
        tts_pad_token_id=TTS_PAD,
        tts_bos_token_id=TTS_BOS,
        tts_eos_token_id=TTS_EOS,
        system_token_id=SYSTEM,
        user_token_id=USER,
        assistant_token_id=ASSISTANT,
    )


def marked_config() -> Qwen3_5OmniMoeConfig:
    """With the codec ids that give the Talker's prompt the layout of public ports."""
    config = mini_config()
    talker = config.talker_config
    talker.codec_think_id, talker.codec_nothink_id = CODES + 6, CODES + 7
    talker.codec_think_bos_id, talker.codec_think_eos_id = CODES + 8, CODES + 9
    config.talker_language_id = {"english": CODES + 10}
    return config


def marked_model(seed: int = 0) -> Qwen3_5OmniMoeForConditionalGeneration:
    """The weights of `mini_model(seed)` behind `marked_config`."""
    model = mini_model(seed)
    model.config = marked_config()
    return model


def mini_model(
    seed: int = 0, talker_text: dict[str, Any] = MOE, predictor_hidden: int = 24
) -> Qwen3_5OmniMoeForConditionalGeneration:
    # The gated-DeltaNet decays are drawn where they are made, and are no noise that could be set afterwards.
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = Qwen3_5OmniMoeForConditionalGeneration(mini_config(talker_text, predictor_hidden)).eval()
    make_loud(model, seed)
    return model


def make_loud(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.add_(0.1 * noise)
            elif "embed" in name and "proj" not in name:
                parameter.copy_(noise)
            else:
                fan_in = parameter.shape[-1] if "experts." in name else math.prod(parameter.shape[1:])
                parameter.copy_(noise * (1.5 if "head" in name else 1.0) / math.sqrt(fan_in))


def encode(text: str) -> list[int]:
    """A character a token: enough for timestamps."""
    return [DIGITS + ord(character) % (VOCAB - DIGITS) for character in text]


def mini_prompt(seed: int = 0) -> ThinkerPrompt:
    """A user turn of a sound, a picture, a video with sound, and words; then an open assistant turn."""
    generator = torch.Generator().manual_seed(seed)
    media: list[Medium] = [Sound(130), Picture((2, 3)), Video(3, 2.0, (2, 2), sound_frames=150)]
    template = [IM_START, USER, NEWLINE, AUDIO_START, AUDIO, AUDIO_END, VISION_START, IMAGE, VISION_END]
    template += [VISION_START, VIDEO, VISION_END, 30, 31, 32, IM_END, NEWLINE, IM_START, ASSISTANT, NEWLINE]
    expanded = PromptRules(mini_config().thinker_config, encode).expand(template, media)
    sounds = tuple(torch.randn(128, frames, generator=generator) for frames in (130, 150))
    return ThinkerPrompt(
        torch.as_tensor(expanded.token_ids),
        torch.as_tensor(expanded.positions),
        sounds,
        (patches((1, 4, 6), generator),),
        (patches((2, 4, 4), generator),),
    )


def patches(grid: tuple[int, int, int], generator: torch.Generator) -> Patches:
    return Patches(torch.randn(math.prod(grid), 3 * 2 * 4 * 4, generator=generator), grid)


def mini_voice(frames: int = 5) -> VoicePrompt:
    codes = np.random.default_rng(0).integers(0, CODES, (frames, GROUPS))
    return VoicePrompt((IM_START, SYSTEM, NEWLINE, 40, 41), codes, (IM_END, NEWLINE))
