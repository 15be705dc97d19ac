"""The processor of the tiny checkpoints: images of a few patches, Whisper's mel frames, ChatML."""

from __future__ import annotations

from importlib import resources

from transformers import Qwen2Tokenizer, WhisperFeatureExtractor
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeProcessor

from antiphon_executor.tiny.sizes import IMAGE_SIZE, PATCH


def tiny_processor(tokenizer: Qwen2Tokenizer, padded_audio_s: int) -> Qwen3OmniMoeProcessor:
    """`padded_audio_s`: seconds to which Whisper's extractor pads a clip if padding is requested."""
    template = resources.files(__package__).joinpath("chat_template.jinja").read_text(encoding="utf-8")
    pixels = {"shortest_edge": 4 * (2 * PATCH) ** 2, "longest_edge": IMAGE_SIZE**2}
    vision = {"patch_size": PATCH, "temporal_patch_size": 2, "merge_size": 2, "size": pixels}
    return Qwen3OmniMoeProcessor(
        image_processor=Qwen2VLImageProcessor(**vision),
        video_processor=Qwen2VLVideoProcessor(**vision),
        feature_extractor=WhisperFeatureExtractor(
            feature_size=128,
            sampling_rate=16_000,
            hop_length=160,
            n_fft=400,
            chunk_length=padded_audio_s,
            return_attention_mask=True,
        ),
        tokenizer=tokenizer,
        chat_template=template,
    )
