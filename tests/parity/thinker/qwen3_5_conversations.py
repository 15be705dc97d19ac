"""Conversations for Qwen3.5-Omni whose every step is clear: the best token leads by more than bfloat16 blurs.

A tiny random model is often undecided between two tokens, or two experts; so each conversation is asked in
many takes, and the take that stands here was found by `pick_takes.py`. The test checks that it is clear.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.protocol import Media
from tests.parity.thinker.conversations import (
    AUDIO,
    IMAGE,
    VIDEO,
    Conversation,
    picture,
    sound,
    user,
    video,
)


@dataclass(frozen=True)
class Scene:
    """`prompt`: with `{}` for the number of the take; `number`: that of the take which is clear."""

    name: str
    number: int
    prompt: str
    media: Media

    def take(self, number: int) -> Conversation:
        return Conversation(self.name, self.prompt.format(number), self.media)

    @property
    def chosen(self) -> Conversation:
        return self.take(self.number)


FIRST_TURN = user(f"{AUDIO}{IMAGE}When?")
FIRST_MEDIA = Media(audios=(sound(11, 62.0),), pictures=(picture(11, 128, 128),))
SCENES = (
    Scene("text", 16, user("Tell me about house {}."), Media()),
    Scene("a long text", 34, user("red blue house " * 60 + "{}?"), Media()),
    Scene("audio", 35, user(f"{AUDIO}What is said? {{}}"), Media(audios=(sound(1, 2.0),))),
    Scene("odd audio", 67, user(f"{AUDIO}{{}}"), Media(audios=(sound(2, 1.2345),))),
    Scene("the shortest audio", 22, user(f"{AUDIO}! {{}}"), Media(audios=(sound(9, 0.025),))),
    Scene("audio with a timestamp", 84, user(f"{AUDIO}When? {{}}"), Media(audios=(sound(4, 61.5),))),
    Scene("image", 6, user(f"{IMAGE}What is it? {{}}"), Media(pictures=(picture(1, 96, 128),))),
    Scene("video at 0.5 fps", 0, user(f"{VIDEO}Describe. {{}}"), Media(videos=(video(1, 4, 0.5),))),
    Scene("an odd number of frames", 7, user(f"{VIDEO}Describe. {{}}"), Media(videos=(video(2, 3, 2.0),))),
    Scene("video with sound", 16, user(f"{VIDEO}Who? {{}}"), Media(videos=(video(3, 4, 2.0, heard=2.0),))),
    Scene(
        "video with long sound", 4, user(f"{VIDEO}Who? {{}}"), Media(videos=(video(3, 6, 4.0, heard=3.3),))
    ),
    Scene(
        "several of a kind",
        4,
        user(f"{AUDIO}or{AUDIO}{IMAGE}{IMAGE}then{VIDEO}{VIDEO}{{}}"),
        Media(
            audios=(sound(5, 1.0), sound(6, 2.31)),
            pictures=(picture(6, 64, 64), picture(7, 128, 96)),
            videos=(video(8, 4, 1.0), video(9, 4, 4.0, heard=1.0)),
        ),
    ),
    Scene("a second turn", 21, f"{FIRST_TURN}At one.<|im_end|>\n" + user("And {}?"), FIRST_MEDIA),
    Scene(
        "two turns and a system prompt",
        17,
        f"<|im_start|>system\nListen.{AUDIO}<|im_end|>\n{user(AUDIO + 'yes?')}No.<|im_end|>\n"
        + user(IMAGE + "{}"),
        Media(audios=(sound(7, 0.6), sound(8, 0.9)), pictures=(picture(5, 64, 64),)),
    ),
)
