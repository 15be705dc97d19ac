"""A tiny Qwen3-Omni with random weights, made of transformers' own classes."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

from antiphon_executor.models.special_tokens import PromptIds

ENDOFTEXT, IM_START, IM_END, AUDIO, IMAGE, VIDEO = range(6)
AUDIO_START, AUDIO_END, VISION_START, VISION_END = range(6, 10)
TTS_PAD, TTS_BOS, TTS_EOS, SYSTEM, USER, ASSISTANT, NEWLINE = range(10, 17)
FIRST_WORD, TEXT_VOCAB = 20, 120
CODES, CODEC_VOCAB, CODEC_EOS = 256, 256 + 1_024, 270
SPEAKERS = {"ethan": 280, "chelsie": 281}

IDS = PromptIds(
    im_start=IM_START,
    user=USER,
    assistant=ASSISTANT,
    audio=AUDIO,
    image=IMAGE,
    video=VIDEO,
    tts_pad=TTS_PAD,
    tts_bos=TTS_BOS,
    tts_eos=TTS_EOS,
)

_CODEC_IDS = ("nothink", "think_bos", "think_eos", "pad", "bos")
_ROPE = {
    "rope_type": "default",
    "rope_theta": 1e6,
    "mrope_section": [3, 3, 2],
    "mrope_interleaved": True,
}
_MEDIA = {
    "audio_token_id": AUDIO,
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "audio_start_token_id": AUDIO_START,
    "vision_start_token_id": VISION_START,
    "position_id_per_seconds": 13,
}
_BACKBONE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "moe_intermediate_size": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "rope_parameters": _ROPE,
}
_AUDIO_TOWER = {
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "output_dim": 32,
    "downsample_hidden_size": 8,
}
_VISION_TOWER = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": 32,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0],
}
_PREDICTOR = {
    "vocab_size": CODES,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "num_code_groups": 4,
}
_CODE2WAV = {
    "codebook_size": CODES,
    "num_quantizers": 4,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "decoder_dim": 32,
}


def tiny_omni(seed: int = 0) -> Qwen3OmniMoeForConditionalGeneration:
    """The model in float32, eval mode; greedy text of random weights, so it hardly ever ends by itself."""
    thinker_ids = {"audio_end_token_id": AUDIO_END, "vision_end_token_id": VISION_END, "user_token_id": USER}
    thinker = _MEDIA | thinker_ids | {"audio_config": _AUDIO_TOWER, "vision_config": _VISION_TOWER}
    codec = {
        f"codec_{n}_id": 271 + i for i, n in enumerate(("nothink", "think_bos", "think_eos", "pad", "bos"))
    }
    talker = _MEDIA | codec | {"codec_eos_token_id": CODEC_EOS, "speaker_id": SPEAKERS}
    talker |= {
        "num_code_groups": 4,
        "thinker_hidden_size": 32,
        "accept_hidden_layer": 1,
        "spatial_merge_size": 2,
    }
    backbone = _BACKBONE | {"vocab_size": CODEC_VOCAB, "shared_expert_intermediate_size": 16}
    config = Qwen3OmniMoeConfig(
        thinker_config=thinker | {"text_config": _BACKBONE | {"vocab_size": TEXT_VOCAB}},
        talker_config=talker | {"text_config": backbone, "code_predictor_config": _PREDICTOR},
        code2wav_config=_CODE2WAV,
        im_start_token_id=IM_START,
        im_end_token_id=IM_END,
        tts_pad_token_id=TTS_PAD,
        tts_bos_token_id=TTS_BOS,
        tts_eos_token_id=TTS_EOS,
        system_token_id=SYSTEM,
        user_token_id=USER,
        assistant_token_id=ASSISTANT,
    )
    torch.manual_seed(seed)
    model = Qwen3OmniMoeForConditionalGeneration(config).eval()
    for layer in model.talker.model.layers:  # transformers 5.19 leaves these as the memory was
        for experts in (layer.mlp.experts.gate_up_proj, layer.mlp.experts.down_proj):
            nn.init.normal_(experts, std=config.talker_config.text_config.initializer_range)
    # transformers 5.19 reads the audio window's length off the Talker's config, which has none.
    model.talker.config.audio_config = SimpleNamespace(n_window=50)
    return model
