"""Configuration of the Qwen3.5-Omni family, `qwen3_5_omni_moe`, in transformers' conventions.

Defaults are the public figures. Values that are not public default to those of the nearest open model; the
docstring of each class lists them.
"""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5_moe.configuration_qwen3_5_moe import (
    Qwen3_5MoeTextConfig,
    Qwen3_5MoeVisionConfig,
)
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import (
    Qwen3OmniMoeAudioEncoderConfig,
    Qwen3OmniMoeCode2WavConfig,
    Qwen3OmniMoeTalkerCodePredictorConfig,
)

from antiphon_executor.models.qwen3_5_omni.names import MODEL_TYPES, with_own_names

# As in the open Qwen3.5 models: theta 1e7, a quarter of each head of 256 rotated, 32 frequencies.
_ROPE = {
    "rope_type": "default",
    "rope_theta": 10_000_000.0,
    "partial_rotary_factor": 0.25,
    "mrope_section": [11, 11, 10],
    "mrope_interleaved": True,
}
_THINKER_TEXT = {"max_position_embeddings": 262_144, "rope_parameters": _ROPE}
_TALKER_TEXT = {
    "hidden_size": 1280,
    "num_hidden_layers": 20,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 512,
    "max_position_embeddings": 65_536,
    "rope_parameters": _ROPE,
}


@strict
class Qwen3_5OmniMoeAudioConfig(Qwen3OmniMoeAudioEncoderConfig):  # noqa: N801
    """AuT: Qwen3-Omni's audio encoder with one more convolution. Not public: its widths (Qwen3-Omni's).

    `downsample_times`: stride-2 convolutions; `n_window`: half a convolution window in mel frames;
    `n_window_infer`: mel frames that attend to each other; `timestamp_interval_s`: seconds of audio between
    two text timestamps.
    """

    model_type = "qwen3_5_omni_moe_audio_encoder"

    output_dim: int = 2048
    downsample_times: int = 4
    timestamp_interval_s: int = 60


@strict
class Qwen3_5OmniMoeThinkerConfig(PreTrainedConfig):  # noqa: N801
    """Token ids are Qwen3.5's. Not public: those of audio, which continue Qwen3-Omni's order of added tokens.

    `position_id_per_seconds`: temporal TM-RoPE positions, one per 160 ms. The outputs of the vision and audio
    towers default to the width of the text model.
    """

    model_type = "qwen3_5_omni_moe_thinker"
    sub_configs = {  # noqa: RUF012 - read by transformers
        "text_config": Qwen3_5MoeTextConfig,
        "audio_config": Qwen3_5OmniMoeAudioConfig,
        "vision_config": Qwen3_5MoeVisionConfig,
    }

    text_config: Any = None
    audio_config: Any = None
    vision_config: Any = None
    position_id_per_seconds: float = 6.25
    audio_token_id: int = 248_076
    audio_start_token_id: int = 248_070
    audio_end_token_id: int = 248_071
    image_token_id: int = 248_056
    video_token_id: int = 248_057
    vision_start_token_id: int = 248_053
    vision_end_token_id: int = 248_054
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.text_config = _sub(Qwen3_5MoeTextConfig, self.text_config, _THINKER_TEXT)
        width = self.text_config.hidden_size
        self.audio_config = _sub(Qwen3_5OmniMoeAudioConfig, self.audio_config, {"output_dim": width})
        self.vision_config = _sub(Qwen3_5MoeVisionConfig, self.vision_config, {"out_hidden_size": width})
        super().__post_init__(**kwargs)


@strict
class Qwen3_5OmniMoeTalkerConfig(PreTrainedConfig):  # noqa: N801
    """A Talker whose `text_config` is MoE (`qwen3_5_moe_text`) or dense (`qwen3_5_text`).

    `text_config.vocab_size`: size of its own text embedding table. Of `codec_vocab_size` ids, the last
    `suppressed_codes` are never drawn, except EOS. Not public: the heads (the open Qwen3.5's), the codec ids
    (Qwen3-Omni's), `accept_hidden_layer` (half way, as in Qwen3-Omni), `max_media_rows`.

    With `codec_nothink_id` and its companions the prompt has the layout of public ports (`PromptLayout`).
    `speaker_id`: row of a built-in voice in the tensor `talker.speaker_codec_embeddings`;
    `speaker_system_prompt_id`: text ids of its prompt, a list or one.
    """

    model_type = "qwen3_5_omni_moe_talker"
    sub_configs = {  # noqa: RUF012 - read by transformers
        "text_config": AutoConfig,
        "code_predictor_config": Qwen3OmniMoeTalkerCodePredictorConfig,
    }

    text_config: Any = None
    code_predictor_config: Any = None
    num_code_groups: int = 16
    codec_vocab_size: int = 5120
    suppressed_codes: int = 3072
    codec_pad_id: int = 2148
    codec_bos_id: int = 2149
    codec_eos_token_id: int = 2150
    codec_think_id: int | None = None
    codec_nothink_id: int | None = None
    codec_think_bos_id: int | None = None
    codec_think_eos_id: int | None = None
    speaker_id: Any = None
    speaker_system_prompt_id: Any = None
    thinker_hidden_size: int = 2048
    accept_hidden_layer: int = 20
    max_media_rows: int = 16_384
    text_tokens_per_chunk: int = 4
    frames_per_chunk: int = 4
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.text_config = _talker_text(self.text_config)
        predictor = {"hidden_size": self.text_config.hidden_size, "num_code_groups": self.num_code_groups}
        self.code_predictor_config = _sub(
            Qwen3OmniMoeTalkerCodePredictorConfig, self.code_predictor_config, predictor
        )
        if self.code_predictor_config.num_code_groups != self.num_code_groups:
            raise ValueError("num_code_groups of the Talker and of its code predictor differ")
        companions = (self.codec_think_bos_id, self.codec_think_eos_id)
        if self.codec_nothink_id is not None and None in companions:
            raise ValueError("codec_nothink_id needs codec_think_bos_id and codec_think_eos_id")
        reserved = self.codec_vocab_size - self.suppressed_codes
        if reserved <= 0 or not 0 <= self.codec_eos_token_id < self.codec_vocab_size:
            raise ValueError("the codec vocabulary leaves no codes to draw, or does not hold its EOS")
        super().__post_init__(**kwargs)


@strict
class Qwen3_5OmniMoeConfig(PreTrainedConfig):  # noqa: N801
    """The whole model. `code2wav_config` is Qwen3-Omni's; ids are as in `Qwen3_5OmniMoeThinkerConfig`.

    Role ids depend on the tokenizer; None if the checkpoint does not define them. `enable_audio_output` is
    False for a checkpoint without a Talker. `talker_language_id`: codec id by language.
    """

    model_type = "qwen3_5_omni_moe"
    sub_configs = {  # noqa: RUF012 - read by transformers
        "thinker_config": Qwen3_5OmniMoeThinkerConfig,
        "talker_config": Qwen3_5OmniMoeTalkerConfig,
        "code2wav_config": Qwen3OmniMoeCode2WavConfig,
    }

    thinker_config: Any = None
    talker_config: Any = None
    code2wav_config: Any = None
    im_start_token_id: int = 248_045
    im_end_token_id: int = 248_046
    tts_pad_token_id: int = 248_072
    tts_bos_token_id: int = 248_073
    tts_eos_token_id: int = 248_074
    system_token_id: int | None = None
    user_token_id: int | None = None
    assistant_token_id: int | None = None
    talker_language_id: Any = None
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False
    enable_audio_output: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        self.thinker_config = _sub(Qwen3_5OmniMoeThinkerConfig, self.thinker_config, {})
        width = self.thinker_config.text_config.hidden_size
        self.talker_config = _sub(
            Qwen3_5OmniMoeTalkerConfig, self.talker_config, {"thinker_hidden_size": width}
        )
        groups = {"num_quantizers": self.talker_config.num_code_groups}
        self.code2wav_config = _sub(Qwen3OmniMoeCode2WavConfig, self.code2wav_config, groups)
        self._check()
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers, also for a config with the names of public ports."""
        return super().from_dict(with_own_names(config_dict), **kwargs)

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """The Thinker's: transformers and vLLM call this for the text model of a nested configuration."""
        return self.thinker_config.text_config

    def _check(self) -> None:
        thinker, talker = self.thinker_config, self.talker_config
        width = thinker.text_config.hidden_size
        if {thinker.audio_config.output_dim, thinker.vision_config.out_hidden_size} != {width}:
            raise ValueError(f"the audio and vision towers must output the text model's width, {width}")
        if not self.enable_audio_output:
            return
        if talker.thinker_hidden_size != width:
            raise ValueError(f"thinker_hidden_size is {talker.thinker_hidden_size}, the Thinker has {width}")
        if self.code2wav_config.num_quantizers != talker.num_code_groups:
            raise ValueError("the Talker's code groups and Code2Wav's quantizers differ")
        if not 0 <= talker.accept_hidden_layer <= thinker.text_config.num_hidden_layers:
            raise ValueError(f"the Thinker has no layer {talker.accept_hidden_layer} to accept rows from")


def register() -> None:
    """Registers the family with `AutoConfig`. A second call does nothing."""
    for config in (
        Qwen3_5OmniMoeConfig,
        Qwen3_5OmniMoeThinkerConfig,
        Qwen3_5OmniMoeTalkerConfig,
        Qwen3_5OmniMoeAudioConfig,
    ):
        AutoConfig.register(config.model_type, config, exist_ok=True)
    for name in MODEL_TYPES:
        other = type(Qwen3_5OmniMoeConfig.__name__, (Qwen3_5OmniMoeConfig,), {"model_type": name})
        AutoConfig.register(name, other, exist_ok=True)


def _sub(kind: type[PreTrainedConfig], given: Any, defaults: dict[str, Any]) -> PreTrainedConfig:
    """A nested configuration: as given, or a dict (or nothing) over the family's defaults."""
    return given if isinstance(given, PreTrainedConfig) else kind(**(defaults | (given or {})))


def _talker_text(given: Any) -> PreTrainedConfig:
    if isinstance(given, dict) and given.get("model_type") == Qwen3_5TextConfig.model_type:
        shared = ("hidden_size", "num_hidden_layers", "max_position_embeddings", "rope_parameters")
        return _sub(Qwen3_5TextConfig, given, {key: _TALKER_TEXT[key] for key in shared})
    return _sub(Qwen3_5MoeTextConfig, given, _TALKER_TEXT)
