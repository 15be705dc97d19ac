"""Token ids of an omni checkpoint's configuration, looked up in its tokenizer's vocabulary."""

from __future__ import annotations

from collections.abc import Mapping


def checkpoint_token_ids(ids: Mapping[str, int]) -> dict[str, int]:
    """Ids in the outermost config: control tokens and the three role names. `ids`: token to id."""
    return {
        "im_start_token_id": ids["<|im_start|>"],
        "im_end_token_id": ids["<|im_end|>"],
        "tts_pad_token_id": ids["<tts_pad>"],
        "tts_bos_token_id": ids["<tts_text_bos>"],
        "tts_eos_token_id": ids["<tts_text_eod>"],
        "system_token_id": ids["system"],
        "user_token_id": ids["user"],
        "assistant_token_id": ids["assistant"],
    }


def media_token_ids(ids: Mapping[str, int]) -> dict[str, int]:
    """Ids of media placeholders and of the tokens that start media."""
    return {
        "audio_token_id": ids["<|audio_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "audio_start_token_id": ids["<|audio_start|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
    }


def thinker_media_token_ids(ids: Mapping[str, int]) -> dict[str, int]:
    """Ids of `media_token_ids` and of the tokens that end media, which only the Thinker's config has."""
    return media_token_ids(ids) | {
        "audio_end_token_id": ids["<|audio_end|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
