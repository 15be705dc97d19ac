"""Conversations for Qwen3.5-Omni: every kind of media, alone, several, and over two turns.

Their numbers were chosen so that the tiny random model has no ties in float32, token by token.
"""

from __future__ import annotations

from antiphon_executor.interface.media import Media
from tests.parity.thinker.conversations import (
    AUDIO,
    IMAGE,
    VIDEO,
    Conversation,
    one_turn,
    picture,
    sound,
    user,
    video,
)

FIRST_TURN = user(f"{AUDIO}{IMAGE}When?")
FIRST_MEDIA = Media(audios=(sound(11, 62.0),), images=(picture(11, 128, 128),))
CONVERSATIONS = (
    one_turn("text", "Tell me about house 16."),
    one_turn("a long text", "red blue house " * 60 + "34?"),
    one_turn("audio", f"{AUDIO}What is said? 35", audios=(sound(1, 2.0),)),
    one_turn("odd audio", f"{AUDIO}67", audios=(sound(2, 1.2345),)),
    one_turn("the shortest audio", f"{AUDIO}! 22", audios=(sound(9, 0.025),)),
    one_turn("audio with a timestamp", f"{AUDIO}When? 84", audios=(sound(4, 61.5),)),
    one_turn("image", f"{IMAGE}What is it? 6", images=(picture(1, 96, 128),)),
    one_turn("video at 0.5 fps", f"{VIDEO}Describe. 0", videos=(video(1, 4, 0.5),)),
    one_turn("an odd number of frames", f"{VIDEO}Describe. 7", videos=(video(2, 3, 2.0),)),
    one_turn("video with sound", f"{VIDEO}Who? 16", videos=(video(3, 4, 2.0, heard=2.0),)),
    one_turn("video with long sound", f"{VIDEO}Who? 4", videos=(video(3, 6, 4.0, heard=3.3),)),
    one_turn(
        "several of a kind",
        f"{AUDIO}or{AUDIO}{IMAGE}{IMAGE}then{VIDEO}{VIDEO}4",
        audios=(sound(5, 1.0), sound(6, 2.31)),
        images=(picture(6, 64, 64), picture(7, 128, 96)),
        videos=(video(8, 4, 1.0), video(9, 4, 4.0, heard=1.0)),
    ),
    Conversation("a second turn", f"{FIRST_TURN}At one.<|im_end|>\n" + user("And 21?"), FIRST_MEDIA),
    Conversation(
        "two turns and a system prompt",
        f"<|im_start|>system\nListen.{AUDIO}<|im_end|>\n{user(AUDIO + 'yes?')}No.<|im_end|>\n"
        + user(IMAGE + "17"),
        Media(audios=(sound(7, 0.6), sound(8, 0.9)), images=(picture(5, 64, 64),)),
    ),
)
