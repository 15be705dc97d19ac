"""Dialogues are encoded as in serving: token ids of the chat template, features and tokens of media."""

from __future__ import annotations

import random
from functools import cache
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image

from antiphon_executor.interface.media import AudioClip
from antiphon_executor.models.qwen3_5_omni.media import MediaReader
from antiphon_executor.models.thinker.clip import Clip as ServedClip
from antiphon_executor.models.thinker.log_mel import log_mel
from antiphon_executor.models.thinker.windows import VideoFacts
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Clip, Dialogue, Picture, Sound, Turn, Writer
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.seeing import patches


@cache
def writer() -> Writer:
    tokenizer = nano_tokenizer()
    return Writer(tokenizer, network.nano_config(tokenizer))


@cache
def reader() -> MediaReader:
    config = network.nano_config(nano_tokenizer())
    return MediaReader(config, writer().encode, *patches.processors())


def frames(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 128, 160, 3), dtype=np.uint8)


def test_a_dialogue_is_encoded_as_the_chat_template_writes_it() -> None:
    tokenizer = nano_tokenizer()
    template = resources.files("antiphon_executor.tiny").joinpath("chat_template.jinja").read_text("utf-8")
    turns = (
        Turn(("What is one plus two?",), "One plus two is three."),
        Turn(("thanks",), "You are welcome."),
    )
    messages: list[dict[str, object]] = [{"role": "system", "content": "Be brief."}]
    for turn in turns:
        messages += [
            {"role": "user", "content": turn.question[0]},
            {"role": "assistant", "content": turn.answer},
        ]

    sample = writer().sample(Dialogue(turns, "turns", "Be brief."))
    prompt = writer().prompt(Dialogue(turns, "turns", "Be brief."))

    whole = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
    opened = tokenizer.apply_chat_template(
        messages[:-1], chat_template=template, tokenize=False, add_generation_prompt=True
    )
    assert writer().decode(sample.token_ids.tolist()) == whole
    assert prompt.token_ids.tolist() == writer().encode(opened)


def test_only_answers_and_their_ends_are_targets() -> None:
    turns = (Turn(("hello",), "Hello, how can I help you?"), Turn(("2 + 2",), "Two plus two is four."))

    sample = writer().sample(Dialogue(turns, "turns"))

    learned = writer().decode(sample.token_ids[sample.answers].tolist())
    assert learned == "Hello, how can I help you?<|im_end|>Two plus two is four.<|im_end|>"


def test_every_sample_starts_with_its_prompt() -> None:
    mel = torch.zeros(128, 250)
    picture = Picture(patches.cut(frames(1)))
    dialogue = Dialogue((Turn((picture, Sound(mel), "What do you see?"), "I see a red dot."),), "mix")

    prompt, sample = writer().prompt(dialogue), writer().sample(dialogue)

    size = len(prompt.token_ids)
    assert sample.token_ids[:size].tolist() == prompt.token_ids.tolist()
    assert np.array_equal(sample.positions[:, :size], prompt.positions)
    assert sample.answers[size:-1].all()
    assert not sample.answers[:size].any()


def test_a_picture_is_cut_as_the_served_processor_cuts_it() -> None:
    fields = reader().picture(Image.fromarray(frames(1)[0]))

    cut = patches.cut(frames(1))

    assert tuple(fields["image_grid_thw"].tolist()) == cut.grid
    torch.testing.assert_close(cut.pixels, fields["pixel_values"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [4, 5])
def test_a_clip_is_cut_and_encoded_as_in_serving(count: int) -> None:
    shown = frames(count)[:, :, :128]
    sound = np.random.default_rng(1).standard_normal(30_000).astype(np.float32)
    fields = reader().video(shown, VideoFacts(fps=2.0, sound=ServedClip(AudioClip(sound))))
    clip = Clip(patches.cut(shown), count, 2.0, Sound(log_mel(sound, 128)))

    prompt = writer().prompt(Dialogue((Turn((clip,), "Nothing is moving."),), "clip"))

    torch.testing.assert_close(clip.patches.pixels, fields["pixel_values_videos"], rtol=0, atol=1e-5)
    served = reader().tokens("video", fields)
    start = len(writer().encode("<|im_start|>user\n"))
    assert prompt.token_ids[start : start + len(served)].tolist() == served


def test_the_same_dialogue_is_drawn_from_the_same_seed() -> None:
    from antiphon_nano.thinker.asking.typed_dialogues import talk

    first, second = (writer().sample(talk(random.Random(5))) for _ in range(2))

    assert first.token_ids.tolist() == second.token_ids.tolist()
