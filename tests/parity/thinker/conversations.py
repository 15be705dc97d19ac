"""Conversations to compare on: synthetic media, and prompts that hold them. The name is the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip, Media, RgbImage, VideoClip

AUDIO = "<|audio_start|><|audio_pad|><|audio_end|>"
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"


@dataclass(frozen=True, eq=False)
class Conversation:
    """A prompt before tokenization, and its media. Equal to itself alone, as arrays have no hash."""

    name: str
    prompt: str
    media: Media


def sound(seed: int, seconds: float) -> AudioClip:
    """A gliding tone in noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * INPUT_SAMPLE_RATE_HZ)) / INPUT_SAMPLE_RATE_HZ
    tone = np.sin(2 * np.pi * (200 + 90 * seed + 150 * time) * time)
    return AudioClip((0.3 * tone + 0.02 * rng.standard_normal(len(time))).astype(np.float32))


def picture(seed: int, height: int, width: int) -> RgbImage:
    """Coloured waves, so that neighbouring patches differ."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x * (seed + k + 1) + y * (k + 2)) / 17) for k in range(3)]
    return RgbImage(((np.stack(waves, axis=-1) + 1) * 127).astype(np.uint8))


def video(seed: int, frames: int, rate: float, heard: float | None = None) -> VideoClip:
    """`heard`: the seconds of its sound."""
    shots = np.stack([picture(seed + index, 64, 96).pixels for index in range(frames)])
    return VideoClip(shots, rate, None if heard is None else sound(seed, heard))


def user(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def one_turn(name: str, text: str, **media: tuple) -> Conversation:
    return Conversation(name, user(text), Media(**media))


CONVERSATIONS = (
    one_turn("text", "Tell me about the red house."),
    one_turn("audio", f"{AUDIO}What is said?", audios=(sound(1, 2.0),)),
    one_turn("odd audio", f"{AUDIO}", audios=(sound(2, 1.2345),)),
    one_turn("short audio", f"{AUDIO}!", audios=(sound(3, 0.5),)),
    one_turn("image", f"{IMAGE}What is it?", images=(picture(1, 96, 128),)),
    one_turn("video at 0.5 fps", f"{VIDEO}Describe.", videos=(video(1, 4, 0.5),)),
    one_turn("video at 1 fps", f"{VIDEO}Describe.", videos=(video(1, 4, 1.0),)),
    one_turn("video at 2 fps", f"{VIDEO}Describe.", videos=(video(1, 4, 2.0),)),
    one_turn("video at 4 fps", f"{VIDEO}Describe.", videos=(video(1, 6, 4.0),)),
    one_turn("odd number of frames", f"{VIDEO}Describe.", videos=(video(2, 3, 2.0),)),
    one_turn("video with sound", f"{VIDEO}Who speaks?", videos=(video(3, 4, 2.0, heard=2.0),)),
    one_turn("video with long sound", f"{VIDEO}Who?", videos=(video(3, 4, 4.0, heard=3.3),)),
    one_turn(
        "several audios", f"{AUDIO}or{AUDIO}or{AUDIO}", audios=(sound(1, 1.0), sound(2, 2.31), sound(3, 0.5))
    ),
    one_turn("several images", f"{IMAGE}and {IMAGE}", images=(picture(1, 64, 64), picture(2, 128, 96))),
    one_turn("videos of two rates", f"{VIDEO}then{VIDEO}", videos=(video(1, 4, 1.0), video(4, 4, 4.0))),
    one_turn(
        "videos with sound beside audio",
        f"{AUDIO}here{VIDEO}there{AUDIO}{VIDEO}",
        audios=(sound(5, 0.7), sound(6, 1.1)),
        videos=(video(1, 4, 2.0, heard=2.0), video(5, 4, 2.0, heard=1.5)),
    ),
    one_turn(
        "mixed",
        f"{IMAGE}{AUDIO}and{VIDEO}{IMAGE}?",
        audios=(sound(4, 1.5),),
        images=(picture(3, 64, 96), picture(4, 96, 64)),
        videos=(video(2, 4, 2.0),),
    ),
    Conversation(
        "two turns and a system prompt",
        f"<|im_start|>system\nListen.{AUDIO}<|im_end|>\n{user(AUDIO + 'yes?')}No.<|im_end|>\n{user(IMAGE)}",
        Media(audios=(sound(7, 0.6), sound(8, 0.9)), images=(picture(5, 64, 64),)),
    ),
)


# Media of several windows, which the oracles take in one piece. With 5.5 s a patch no window of whole patches
# ends at a block of 8 s of sound, and transformers' positions are exact in float32.
LONG_CONVERSATIONS = (
    one_turn("four minutes of audio", f"{AUDIO}What is said?", audios=(sound(1, 245.3),)),
    one_turn("two minutes of video", f"{VIDEO}Describe.", videos=(video(1, 72, 0.5),)),
    one_turn(
        "two minutes of video with sound", f"{VIDEO}Who speaks?", videos=(video(2, 50, 4 / 11, heard=134.6),)
    ),
)
