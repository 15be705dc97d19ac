"""The evaluation through the server: requests contain the dialogues, and answers are marked correctly."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch

from antiphon_nano.domain import corpus
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.judging.gates import GATES
from antiphon_nano.served import speech_exam
from antiphon_nano.served.examinee import SpokenAnswer
from antiphon_nano.served.heard_words import share
from antiphon_nano.served.request import messages_of
from antiphon_nano.teacher import shard
from antiphon_nano.thinker.dialogue import Clip, Dialogue, Sound, Turn, Writer
from antiphon_nano.thinker.exams import exams
from antiphon_nano.thinker.exams.evaluation import MarkedAnswer, figures
from antiphon_nano.thinker.hearing import tones
from antiphon_nano.thinker.hearing.library import Library
from antiphon_nano.thinker.lessons.media_sources import toned
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.seeing import clips, patches, pictures
from tests.nano.served.server_path import Served, served
from tests.server.media.conftest import started_loader  # noqa: F401


@pytest_asyncio.fixture(scope="module")
async def server(exported: Path, started_loader) -> Served:  # type: ignore[no-untyped-def]  # noqa: F811
    return served(exported, started_loader)


def test_patches_can_be_turned_back_into_frames() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 96, 128, 3), dtype=np.uint8)
    assert np.array_equal(patches.uncut(patches.cut(frames)), frames)


async def test_messages_contain_the_dialogue(server: Served) -> None:
    """A picture, a clip with sound and a tone, in two turns. The clip's encoding is lossy."""
    rng = random.Random(3)
    scene, act = pictures.scene(rng), clips.act(rng)
    sound = toned(tones.tone(rng, 1.5))
    clip = clips.show(act, rng, toned(tones.tone(rng, 2.0)))
    turns = (
        Turn((pictures.show(scene, rng), "What do you see?"), pictures.describe(scene)),
        Turn((clip, sound, "And what do you hear?"), ""),
    )
    dialogue = Dialogue(turns, "sent", "Be brief.")
    tokenizer = nano_tokenizer()
    trained = Writer(tokenizer, network.nano_config(tokenizer)).prompt(dialogue)

    prompt = await server.prompt(messages_of(dialogue))

    assert prompt.token_ids.tolist() == trained.token_ids.tolist()
    assert np.array_equal(prompt.positions, trained.positions)
    (film,) = prompt.videos
    assert isinstance(clip, Clip)
    assert (film.pixels - clip.patches.pixels).abs().mean() < 0.1
    assert prompt.sounds[-1].shape == sound.mel.shape
    torch.testing.assert_close(prompt.sounds[-1], sound.mel, rtol=0, atol=0.2)


def test_every_exam_can_be_sent(stages: Path) -> None:
    for exam in exams.typed():
        (dialogue,) = exam.draw(random.Random(1), 1)
        assert messages_of(dialogue)[-1]["role"] == "user"


def test_picture_and_speech_of_an_answer_are_marked_separately(stages: Path) -> None:
    seen, said = exams.picture_and_speech(Library(stages / "speech", stages / "asked", "judged"))
    wanted = "I see a red star, and you said: he walks home."
    marked = [
        MarkedAnswer("", wanted, "I see a red star, and you said: he walks, home."),
        MarkedAnswer("", wanted, "I see a red dot, and you said: he walk home."),
        MarkedAnswer("", wanted, "I do not hear anything."),
    ]
    assert figures(marked[:2], seen)["right"] == 50.0
    assert figures(marked[:2], said)["wer"] == pytest.approx(100 / 6, abs=0.01)
    assert figures(marked[2:], seen)["right"] == 0.0
    assert figures(marked[2:], said)["wer"] > 100


def test_texts_are_held_out_and_closed_questions_have_a_deciding_word() -> None:
    aloud, read, unseen, closed = speech_exam.sets(12, exams.typed())
    kinds = [dialogue.kind for dialogue in aloud.dialogues[:5]]
    assert kinds == ["sum minus", "sum times", "count", "copy", "memory"]
    assert len(aloud.dialogues) == len(set(aloud.dialogues)) == 12
    assert [dialogue.turns[0].answer for dialogue in read.dialogues] == corpus.held_out(12)
    assert len(unseen.dialogues) == 4
    for dialogue, word in zip(closed.dialogues, closed.words, strict=True):
        assert word in dialogue.turns[0].answer.lower().rstrip(".")


def test_spoken_answers_are_written_for_the_judge(tmp_path: Path) -> None:
    said = [SpokenAnswer("It is red.", np.full(3000, 0.5, np.float32), "stop")]
    speech_exam.write(tmp_path / "served-closed", said, ["red"])
    kept = shard.read(tmp_path / "served-closed")
    assert [(u.text, u.frames) for u in kept.utterances] == [("It is red.", 2)]
    assert np.abs(kept.sound(kept.utterances[0])[:3000] - 0.5).max() < 1e-3


def test_a_runaway_answer_is_cut_off_or_far_too_long() -> None:
    def spoken(seconds: float, finish: str = "stop") -> SpokenAnswer:
        return SpokenAnswer("It is red.", np.zeros(round(24_000 * seconds), np.float32), finish)

    assert not spoken(1.5).is_runaway
    assert spoken(1.5, "length").is_runaway
    assert spoken(9).is_runaway


def test_the_deciding_word_counts_in_any_spelling() -> None:
    assert share(["seven", "gray", "twenty one"], ["The answer is 7.", "It's grey", "It is 20"]) == 200 / 3


def test_the_gates_of_the_served_model_are_complete() -> None:
    figures = {
        f"served {name}": {"right": 99.0}
        for name in (
            "arithmetic",
            "pictures",
            "videos",
            "spoken questions, teacher",
            "spoken questions, other voices",
        )
    }
    figures |= {"served transcription, teacher": {"wer": 9.0}, "served runaways": {"runaways": 0}}
    figures |= {"served-answers": {"wer": 12.0}, "teacher-answers": {"wer": 3.0}}
    figures |= {"served-read, sentences": {"wer": 12.0}, "natural-heart, all, sentences": {"wer": 3.0}}
    figures |= {"served-unseen": {"wer": 20.0}, "unseen-heart": {"wer": 2.0}}
    figures |= {"served-closed, word heard": {"right": 96.0}}
    assert all(gate.verdict(figures)[0] for gate in GATES["served"])
    figures["served runaways"] = {"runaways": 1}
    assert [gate.verdict(figures)[0] for gate in GATES["served"]].count(False) == 1


def test_a_sound_without_samples_cannot_be_sent() -> None:
    import pytest

    with pytest.raises(ValueError, match="no samples"):
        messages_of(Dialogue((Turn((Sound(torch.zeros(128, 100)),), ""),), "mute"))
