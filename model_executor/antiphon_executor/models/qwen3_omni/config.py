"""The Talker engine's vLLM configuration, derived from the checkpoint's `Qwen3OmniMoeConfig`.

It is flat; `vocab_size` covers the ids of `TalkerVocabulary`, and the last layer is the stream state.
"""

from __future__ import annotations

from transformers import PretrainedConfig
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

from antiphon_executor.models.architectures import TALKER_ARCHITECTURE
from antiphon_executor.models.qwen3_omni.vocabulary import TalkerVocabulary
from antiphon_executor.models.talker.limits import TalkerLimits

_BACKBONE_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "rms_norm_eps",
    "attention_bias",
    "hidden_act",
    "rope_parameters",
    "max_position_embeddings",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "norm_topk_prob",
)


class TalkerConfig(PretrainedConfig):
    """The checkpoint's `talker_config.text_config`, and the other fields that the Talker's worker needs.

    `prefix_rows`: (text id, codec id) by prefix row of the vocabulary. `backbone_layers`: decoder layers;
    `num_hidden_layers` is one more, for the layer that ties requests to slots (see `layer_types`).
    """

    model_type = "antiphon_talker"

    @property
    def vocabulary(self) -> TalkerVocabulary:
        return TalkerVocabulary(**self.partition)


def talker_config(omni: PretrainedConfig, limits: TalkerLimits) -> PretrainedConfig:
    """vLLM's `hf_overrides`: maps the checkpoint's configuration to the Talker's.

    vLLM also calls it with an empty configuration, to read `model_type`; that is returned unchanged.
    """
    if not isinstance(omni, Qwen3OmniMoeConfig):
        return omni
    talker = omni.talker_config
    text = talker.text_config
    layers = text.num_hidden_layers
    partition = {
        "codec": text.vocab_size,
        "text": omni.thinker_config.text_config.vocab_size,
        "speakers": len(talker.speaker_id),
        "slots": limits.slots + 1,
        "media_rows": limits.media_rows,
    }
    return TalkerConfig(
        architectures=[TALKER_ARCHITECTURE],
        dtype=omni.dtype,
        vocab_size=TalkerVocabulary(**partition).size,
        partition=partition,
        num_hidden_layers=layers + 1,
        backbone_layers=layers,
        layer_types=["full_attention"] * layers + ["linear_attention"],
        codec_vocab_size=text.vocab_size,
        codec_eos_id=talker.codec_eos_token_id,
        code_groups=talker.num_code_groups,
        thinker_hidden_size=talker.thinker_hidden_size,
        prefix_rows=_prefix_rows(omni),
        im_start_id=omni.im_start_token_id,
        tts_pad_id=omni.tts_pad_token_id,
        code_predictor_config=talker.code_predictor_config,
        code2wav_config=omni.code2wav_config,
        slots=limits.slots,
        max_frames=limits.max_frames,
        max_media_rows=limits.media_rows,
        tie_word_embeddings=False,
        **{key: getattr(text, key) for key in _BACKBONE_KEYS},
    )


def speakers(config: Qwen3OmniMoeConfig) -> dict[str, int]:
    """Index of each voice's prefix row, by name."""
    return {name: index for index, name in enumerate(sorted(config.talker_config.speaker_id))}


def _prefix_rows(omni: Qwen3OmniMoeConfig) -> list[tuple[int, int]]:
    talker = omni.talker_config
    pad, bos = omni.tts_pad_token_id, omni.tts_bos_token_id
    shared = [
        (pad, talker.codec_nothink_id),
        (pad, talker.codec_think_bos_id),
        (pad, talker.codec_think_eos_id),
        (bos, talker.codec_pad_id),
    ]
    voices: list[tuple[int, int]] = [(pad, talker.speaker_id[name]) for name in sorted(talker.speaker_id)]
    first_text: list[tuple[int, int]] = [(pad, talker.codec_bos_id)]
    return shared + voices + first_text
