"""The tiny checkpoints' processor: pictures of a few patches, Whisper's mel frames, ChatML.

In: a tokenizer. Out: a `Qwen3OmniMoeProcessor`, to be saved. Both families are read by its parts.
"""

from __future__ import annotations

from importlib import resources

from transformers import Qwen2Tokenizer, WhisperFeatureExtractor
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeProcessor

from antiphon_executor.tiny.config import IMAGE_SIZE, PATCH


def tiny_processor(tokenizer: Qwen2Tokenizer, sound_s: int) -> Qwen3OmniMoeProcessor:
    """`sound_s`: seconds that Whisper's extractor would fill a clip up to, where it is told to."""
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
            chunk_length=sound_s,
            return_attention_mask=True,
        ),
        tokenizer=tokenizer,
        chat_template=template,
    )
