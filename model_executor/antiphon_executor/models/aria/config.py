"""The ARIA Talker engine's vLLM configuration, derived from the checkpoint's `Qwen3_5OmniMoeConfig`.

Its `text_config` is the backbone's, with a `vocab_size` that covers the ids of `AriaVocabulary`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from transformers import PretrainedConfig

from antiphon_executor.models.architectures import ARIA_TALKER_ARCHITECTURE
from antiphon_executor.models.aria.order import AriaOrder
from antiphon_executor.models.aria.vocabulary import AriaKind, AriaVocabulary
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.talker.limits import TalkerLimits

_MROPE = ("mrope_section", "mrope_interleaved")


class AriaTalkerConfig(PretrainedConfig):
    """The fields of the checkpoint's configuration that the Talker's worker needs.

    `text_config`: the backbone's, MoE or dense, with one-dimensional positions (all three axes are equal).
    """

    model_type = "antiphon_aria_talker"

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PretrainedConfig:
        """The backbone's configuration, once it is set; vLLM calls this before that too."""
        return getattr(self, "text_config", self)

    @property
    def hidden_size(self) -> int:
        size: int = self.text_config.hidden_size
        return size

    @property
    def vocabulary(self) -> AriaVocabulary:
        return AriaVocabulary(**self.partition)

    @property
    def order(self) -> AriaOrder:
        return AriaOrder(*self.chunk)


def aria_talker_config(omni: PretrainedConfig, limits: TalkerLimits) -> PretrainedConfig:
    """vLLM's `hf_overrides`: maps the checkpoint's configuration to the Talker's.

    vLLM also calls it with an empty configuration, to read `model_type`; that is returned unchanged.
    """
    if not isinstance(omni, Qwen3_5OmniMoeConfig):
        return omni
    talker = omni.talker_config
    partition = {
        "codec": talker.codec_vocab_size,
        "text": talker.text_config.vocab_size,
        "slots": limits.slots + 1,
        "embedding_rows": limits.media_rows,
    }
    vocabulary = AriaVocabulary(**partition)
    return AriaTalkerConfig(
        architectures=[ARIA_TALKER_ARCHITECTURE],
        dtype=omni.dtype,
        text_config=_backbone(talker.text_config, vocabulary.size, omni.dtype),
        partition=partition,
        chunk=[talker.text_tokens_per_chunk, talker.frames_per_chunk],
        text_vocab_size=talker.text_config.vocab_size,
        codec_vocab_size=talker.codec_vocab_size,
        suppressed_codes=talker.suppressed_codes,
        codec_eos_id=talker.codec_eos_token_id,
        code_groups=talker.num_code_groups,
        thinker_hidden_size=talker.thinker_hidden_size,
        im_start_id=omni.im_start_token_id,
        end_token=vocabulary.encode(AriaKind.TEXT, omni.tts_eos_token_id),
        code_predictor_config=talker.code_predictor_config,
        code2wav_config=omni.code2wav_config,
        slots=limits.slots,
        max_frames=limits.max_frames,
        max_media_rows=limits.media_rows,
        tie_word_embeddings=False,
    )


def _backbone(text: PretrainedConfig, vocab_size: int, dtype: Any) -> PretrainedConfig:
    backbone = deepcopy(text)
    backbone.vocab_size = vocab_size
    backbone.dtype = dtype
    rope = backbone.rope_parameters
    backbone.rope_parameters = {key: value for key, value in rope.items() if key not in _MROPE}
    return backbone
