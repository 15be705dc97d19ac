"""`OmniRequest` → the prompt for the Thinker's engine, and the token counts of an expanded prompt.

A request whose media the model cannot take is rejected with `InvalidRequest` before anything is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from antiphon_executor.interface.audio_geometry import FRAME_MS
from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.interface.events import PromptCounted
from antiphon_executor.interface.media import (
    INPUT_SAMPLE_RATE_HZ,
    AudioClip,
    KnownClip,
    RgbImage,
    StoredClip,
    VideoClip,
)
from antiphon_executor.interface.media_geometry import MediaGeometry, patch_count
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.clip import Clip
from antiphon_executor.models.thinker.window_length import LONGEST_WINDOW_FRAMES
from antiphon_executor.models.thinker.windows import (
    VideoWindow,
    image_key,
    most_video_tokens,
    sound_keys,
    sound_windows,
    video_keys,
    video_windows,
)

if TYPE_CHECKING:
    from vllm.inputs import TokensPrompt

# 25 ms: the window of the mel spectrogram must fit into the clip.
SHORTEST_CLIP_SAMPLES = INPUT_SAMPLE_RATE_HZ // 40
# `smart_resize` of transformers' Qwen2-VL image processor rejects more.
WIDEST_ASPECT = 200
# Positions are packed into 20 bits and advance 13 per second (`packed_mrope`); the rest is for text.
LONGEST_MEDIA_S = 18 * 3_600


def engine_prompt(
    turn: OmniRequest, ids: PromptIds, geometry: MediaGeometry, first_windows: int | None = None
) -> TokensPrompt:
    """The prompt for `AsyncLLM.generate`. InvalidRequest for media that do not fit prompt or model.

    Every window of audio or video has a placeholder and a cache key of its own. vLLM keeps features under
    these keys. `first_windows`: so many of each video, for a prompt that ends with them.
    """
    _match_placeholders(turn, ids)
    _check_duration(turn)
    audios = [sound_windows(_clip(clip)) for clip in turn.media.audios]
    videos = [_video_windows(clip, geometry) for clip in turn.media.videos]
    media: dict[str, list[Any]] = {
        "audio": list(chain.from_iterable(audios)),
        "image": [_image(image) for image in turn.media.images],
        "video": list(chain.from_iterable(windows[:first_windows] for windows in videos)),
    }
    repeats = {ids.audio: map(len, audios), ids.video: (len(windows[:first_windows]) for windows in videos)}
    prompt: TokensPrompt = {"prompt_token_ids": _with_windows(turn.prompt_token_ids, repeats)}
    if any(media.values()):
        prompt["multi_modal_data"] = {kind: items for kind, items in media.items() if items}
        keys = {
            "audio": [key for windows in audios for key in sound_keys(windows)],
            "image": [image_key(image) for image in turn.media.images],
            "video": [key for windows in videos for key in video_keys(windows)[:first_windows]],
        }
        prompt["multi_modal_uuids"] = {
            kind: [_key_of(turn.cache_salt, key) for key in found] for kind, found in keys.items() if found
        }
    if turn.cache_salt is not None:
        prompt["cache_salt"] = turn.cache_salt
    return prompt


def _key_of(cache_salt: str | None, key: str) -> str:
    """A tenant's own key, so that no other tenant's media are found faster by it."""
    if cache_salt is None:
        return key
    salt = hashlib.blake2b(cache_salt.encode()).digest()
    return hashlib.blake2b(key.encode(), key=salt, digest_size=20).hexdigest()


def _with_windows(token_ids: Iterable[int], repeats: Mapping[int, Iterator[int]]) -> list[int]:
    """The prompt with as many placeholders as a medium has windows."""
    prompt: list[int] = []
    for token in token_ids:
        prompt += [token] * (next(repeats[token]) if token in repeats else 1)
    return prompt


def count_prompt(prompt_token_ids: Sequence[int], ids: PromptIds, cached: int) -> PromptCounted:
    """Token counts of an expanded prompt by kind. `cached`: tokens found in the prefix cache."""
    prompt = np.asarray(prompt_token_ids, dtype=np.int64)
    audio, image, video = (int((prompt == token).sum()) for token in (ids.audio, ids.image, ids.video))
    return PromptCounted(
        text=len(prompt) - audio - image - video, audio=audio, image=image, video=video, cached=cached
    )


def _match_placeholders(turn: OmniRequest, ids: PromptIds) -> None:
    media = turn.media
    for kind, token, items in (
        ("audio", ids.audio, media.audios),
        ("image", ids.image, media.images),
        ("video", ids.video, media.videos),
    ):
        placeholders = turn.prompt_token_ids.count(token)
        if placeholders != len(items):
            raise InvalidRequest(
                f"the prompt has {placeholders} {kind} placeholders for {len(items)} {kind} parts", "messages"
            )


def _check_duration(turn: OmniRequest) -> None:
    seconds = sum(clip.seconds for clip in turn.media.audios)
    for video in turn.media.videos:
        if not video.frames_per_second > 0:
            raise InvalidRequest("a video's frame rate must be above 0", "messages")
        shown = len(video.frames) / video.frames_per_second
        seconds += max(shown, video.audio.seconds if video.audio else 0)
    if seconds > LONGEST_MEDIA_S:
        raise InvalidRequest(f"media of more than {LONGEST_MEDIA_S // 3_600} hours", "messages")


def _clip(clip: AudioClip | StoredClip | KnownClip) -> Clip:
    if clip.num_samples < SHORTEST_CLIP_SAMPLES or (isinstance(clip, AudioClip) and clip.samples.ndim != 1):
        raise InvalidRequest(
            f"audio of {clip.seconds * 1000:.0f} ms is too short: 25 ms is the least", "messages"
        )
    return Clip(clip)


def _image(image: RgbImage) -> Image.Image:
    _check_size(*image.pixels.shape[:2])
    return Image.fromarray(image.pixels, mode="RGB")


def _video_windows(video: VideoClip, geometry: MediaGeometry) -> list[VideoWindow]:
    if not len(video.frames):
        raise InvalidRequest("the video has no frames", "messages")
    _check_size(*video.frames.shape[1:3])
    sound = _clip(video.audio) if video.audio is not None else None
    windows = video_windows(video, sound, geometry)
    if sound is not None:
        _check_sound(video, sound.frames, windows[-1], geometry)
    return windows


def _check_sound(video: VideoClip, sound_frames: int, last: VideoWindow, geometry: MediaGeometry) -> None:
    """All sound after the pictures is in the last window, which the engine encodes at once."""
    (frames, facts), bounds, audio = last, geometry.video.bounds, geometry.audio
    each = geometry.frame_tokens(len(video.frames), video.frames.shape[1:3])
    begin_s, shown_s = facts.get("first_frame", 0) / facts["fps"], len(video.frames) / facts["fps"]
    most = most_video_tokens(bounds.max_pixels // bounds.factor**2, audio.tokens(LONGEST_WINDOW_FRAMES))
    until = audio.first_token(begin_s * 1000) + most - patch_count(len(frames), geometry.temporal) * each
    if audio.tokens(sound_frames) > until:
        sound_s = sound_frames * FRAME_MS / 1000
        raise InvalidRequest(
            f"a video has pictures of {shown_s:.0f} s and sound of {sound_s:.0f} s; its sound may last "
            f"{audio.start_ms(until) // 1000} s. Cut it, or set use_audio_in_video to false and send the "
            "sound as an audio part",
            "messages",
        )


def _check_size(height: int, width: int) -> None:
    if not height or not width or max(height, width) > WIDEST_ASPECT * min(height, width):
        raise InvalidRequest(f"a picture of {width}x{height} pixels cannot be looked at", "messages")
