"""antiphon-nano over HTTP: correct, intelligible answers to spoken questions, pictures and clips.

Questions come from a seed that training never used, and the voice was not in the training data.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_nano.domain import words
from antiphon_nano.served.request import part_of
from antiphon_nano.thinker.asking import numbers
from antiphon_nano.thinker.asking.numbers import QuestionAnswer
from antiphon_nano.thinker.dialogue import Part
from antiphon_nano.thinker.hearing.script import UNHEARD
from antiphon_nano.thinker.seeing import clips, pictures
from tests.e2e import answers
from tests.e2e.answers import SPOKEN, STREAMED, Answer, said, samples_of, timed
from tests.e2e.conftest import NANO, NANO_CONTEXT
from tests.e2e.ear import Ear
from tests.e2e.server_process import RunningServer
from tests.server.media.media_samples import base64_of, ffmpeg

pytestmark = pytest.mark.engine

ask = partial(answers.ask, model=NANO)
ASKED, AT_ONCE = 10, 4
WRITTEN, HEARD = 8, 7
"""Right of `ASKED`, at least. The gates of `make nano-eval` are 80 to 98 %, and the recognizer errs too.

Which answers are misheard depends on the CPU, whose rounding decides which sound is drawn.
"""
TIMED = (
    "The pink cross is moving down, and I hear a low tone.",
    "Please do not draw every village, but open the clever shop.",
    "I see a small gray heart in the middle, and a green circle on the left.",
    "Hello, I am Nano. I am a tiny model, and I can listen and speak.",
    "The young farmer washes a dark cup, and the river is cold.",
)
PICTURES, WRONG_PICTURES = 20, 2
"""Asked about, and wrongly answered at most: of these it gets none wrong, of 800 others 3.5 %."""


@dataclass(frozen=True)
class Question:
    """`sentences`: possible answers that the recognizer knows; `right`: the correct one."""

    content: list[dict[str, Any]]
    wanted: str
    sentences: tuple[str, ...]
    right: str


@pytest.fixture(scope="module")
def nano(nano_server: RunningServer) -> openai.OpenAI:
    return nano_server.client()


@pytest.fixture(scope="module")
def ear() -> Ear:
    return Ear(pytest.importorskip("pocketsphinx"))


def spoken_sum(number: int) -> Question:
    """A held-out sum, asked by a held-out voice."""
    chance = random.Random(f"e2e sum {number}")
    sum_ = chance.choice([s for s in numbers.every_sum() if s.held_out and s.operation == "plus"])
    asked = numbers.ask_sum(chance, sum_)
    command = ["espeak-ng", "-v", UNHEARD.removeprefix("espeak-"), "-s", "155", "--stdout", asked.question]
    voice = subprocess.run(command, check=True, capture_output=True, timeout=20).stdout
    opening = f"{words.number(sum_.a)} plus {words.number(sum_.b)} is"
    sentences = tuple(f"{opening} {words.number(result)}" for result in range(41))
    content = [{"type": "input_audio", "input_audio": {"data": base64_of(voice), "format": "wav"}}]
    return Question(content, asked.answer, sentences, f"{opening} {words.number(sum_.result)}")


def shown_thing(number: int) -> Question:
    """What colour the only thing in a picture has."""
    chance = random.Random(f"e2e picture {number}")
    scene = pictures.scene(chance)
    while len(scene.things) != 1:
        scene = pictures.scene(chance)
    (thing,) = scene.things
    sentences = tuple(f"the {thing.shape} is {colour}" for colour in words.COLOURS)
    asked = pictures.ask_colour(scene, chance)
    return _about(pictures.show(scene, chance), asked, sentences, f"the {thing.shape} is {thing.colour}")


def drawn_picture(number: int) -> tuple[list[dict[str, Any]], str]:
    """A picture of any kind with a question about it, and the answer."""
    chance = random.Random(f"e2e any picture {number}")
    scene = pictures.scene(chance)
    asked = pictures.asked(scene, chance, typed=True)
    return [part_of(pictures.show(scene, chance)), part_of(asked.question)], asked.answer


def filmed_motion(number: int) -> Question:
    """Where the only thing in a video moves."""
    chance = random.Random(f"e2e video {number}")
    act = clips.act(chance)
    while act.change not in words.DIRECTIONS or act.rest:
        act = clips.act(chance)
    opening = f"the {act.actor.colour} {act.actor.shape} is moving"
    sentences = tuple(f"{opening} {direction}" for direction in words.DIRECTIONS)
    asked = QuestionAnswer("What is moving?", clips.describe(act), "video")
    return _about(clips.show(act, chance), asked, sentences, f"{opening} {act.change}")


def _about(medium: Part, asked: QuestionAnswer, sentences: tuple[str, ...], right: str) -> Question:
    return Question([part_of(medium), part_of(asked.question)], asked.answer, sentences, right)


@pytest.mark.parametrize("draw", [spoken_sum, shown_thing, filmed_motion], ids=["spoken", "shown", "filmed"])
def test_the_answer_is_right_and_is_heard(nano: openai.OpenAI, ear: Ear, draw: Any) -> None:
    questions = [draw(number) for number in range(ASKED)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(partial(_answer, nano), questions))
    heard = [ear.hear(a.pcm, q.sentences) for a, q in zip(answers, questions, strict=True)]

    written = sum(a.text == q.wanted for a, q in zip(answers, questions, strict=True))
    told = [(a.text, q.wanted, h) for a, q, h in zip(answers, questions, heard, strict=True)]
    assert written >= WRITTEN, told
    assert sum(h == q.right for h, q in zip(heard, questions, strict=True)) >= HEARD, told


def test_what_is_asked_about_pictures_is_answered(nano: openai.OpenAI) -> None:
    """What, how many, which colour, where, whether at all: in text, for the sound is heard above."""
    asked = [drawn_picture(number) for number in range(PICTURES)]
    given = [
        ask(nano, [{"role": "user", "content": content}], max_tokens=48, stream=True).text
        for content, _ in asked
    ]
    wrong = [(answer, wanted) for answer, (_, wanted) in zip(given, asked, strict=True) if answer != wanted]
    assert len(wrong) <= WRONG_PICTURES, wrong


def test_every_answer_ends_by_itself_and_is_neither_silent_nor_loud(nano: openai.OpenAI) -> None:
    answer = _answer(nano, spoken_sum(0))
    assert answer.finish_reason == "stop"
    assert answer.usage.completion_tokens_details.audio_tokens == pytest.approx(answer.frames, abs=0.01)
    assert 0.5 < len(answer.pcm) / 48_000 < 10


def test_the_whole_context_is_available_and_the_weights_are_trained(nano_server: RunningServer) -> None:
    (model,) = nano_server.get("/v1/models").json()["data"]
    assert model["max_model_len"] == NANO_CONTEXT
    assert "random" not in nano_server.said()


COUNTED = [words.number(number) for number in range(1, 21)]


@pytest.mark.parametrize("voice", ["heart", "deep"])
@pytest.mark.parametrize("most", [1, 2, 8, 15, 16, 26, 30])
def test_a_cut_answer_ends_after_its_last_word(nano: openai.OpenAI, ear: Ear, voice: str, most: int) -> None:
    """Behind "…, fifteen," the Talker once went on for twenty seconds."""
    answer = _counted(nano, voice, max_tokens=most)
    said = answer.text.lower().replace(",", "").split()
    assert answer.finish_reason == "length"
    assert said == COUNTED[: -(-most // 2)]
    assert 0.2 * len(said) <= len(answer.pcm) / 48_000 <= 0.6 * len(said) + 1
    shorter = [" ".join(COUNTED[:count]) for count in range(max(1, len(said) - 2), len(said) + 3)]
    heard = ear.hear(answer.pcm, shorter)
    assert heard.split()[: len(said) - 1] == said[: len(said) - 1]


@pytest.mark.parametrize("stop", ["eight", ", nine", "sixteen"])
def test_an_answer_cut_by_a_stop_string_ends_after_its_last_word(nano: openai.OpenAI, stop: str) -> None:
    answer = _counted(nano, "heart", max_tokens=48, stop=[stop])
    said = answer.text.replace(",", "").split()
    assert stop not in answer.text
    assert 0.2 * len(said) <= len(answer.pcm) / 48_000 <= 0.6 * len(said) + 1


@pytest.mark.parametrize("voice", ["heart", "deep"])
def test_an_answer_does_not_begin_with_a_click(nano: openai.OpenAI, voice: str) -> None:
    """The vocoder's answer to its padding, up to 885 of 32,768 in the first 0.2 ms."""
    beginning = np.frombuffer(_counted(nano, voice, max_tokens=9).pcm, "<i2")[:12]
    assert np.abs(beginning.astype(int)).max() < 100


@pytest.mark.parametrize(("stream", "usual_s", "most_s"), [(False, 0.12, 0.35), (True, 0.25, 0.8)])
def test_words_are_timed_about_where_they_are_heard(
    nano: openai.OpenAI, ear: Ear, stream: bool, usual_s: float, most_s: float
) -> None:
    """As the ear hears them: half within `usual_s`, nine in ten within `most_s`. Measured: 0.06 and 0.18 s;
    in a stream 0.1 and 0.45. The Talker consumed them 0.8 and 2.5 s before."""
    errors: list[float] = []
    for text in TIMED:
        form = timed({**(STREAMED if stream else SPOKEN), "audio": {"voice": "heart", "format": "wav"}})
        if stream:
            form["audio"]["format"] = "pcm16"
        answer = ask(nano, said(f"Read this aloud: {text}"), max_tokens=48, **form)
        heard = ear.word_starts(answer.pcm, re.findall(r"[a-z]+", answer.text.lower()))
        if heard is not None:
            starts = [word["start"] for word in answer.words]
            errors += [abs(start - true) for start, true in zip(starts, heard, strict=True)]
    assert len(errors) > 30
    errors.sort()
    assert errors[len(errors) // 2] < usual_s, errors
    assert errors[int(len(errors) * 0.9)] < most_s, errors


def _counted(nano: openai.OpenAI, voice: str, **limits: Any) -> Answer:
    form = {**SPOKEN, "audio": {"voice": voice, "format": "wav"}}
    return ask(nano, said("Count from one to twenty."), **limits, **form)


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
@pytest.mark.parametrize("result", ["twelve", "nineteen"])
def test_the_recognizer_does_not_know_the_answer(ear: Ear, tmp_path: Path, result: str) -> None:
    """It transcribes the words, also a wrong result."""
    sentences = [f"seven plus five is {words.number(other)}" for other in range(41)]
    said = tmp_path / "said.wav"
    text = f"Seven plus five is {result}."
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(said)], check=True, timeout=20)
    assert ear.hear(_at_24_khz(said.read_bytes()), sentences) == f"seven plus five is {result}"


def _answer(nano: openai.OpenAI, question: Question) -> Answer:
    form = {**STREAMED, "audio": {"format": "pcm16", "voice": "heart"}}
    return ask(nano, [{"role": "user", "content": question.content}], max_tokens=48, seed=7, **form)


def test_the_checkpoint_is_small() -> None:
    assert 0 < sum(file.stat().st_size for file in ANTIPHON_NANO.glob("*.safetensors")) <= 60_000_000


def _at_24_khz(voice: bytes) -> bytes:
    arguments = ("-i", "said.wav", "-ar", "24000", "-ac", "1")
    return samples_of(ffmpeg(*arguments, suffix="wav", files={"said.wav": voice}))
