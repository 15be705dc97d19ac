"""The voices of a checkpoint: the server reads them, and the Talker was trained with such prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from antiphon_executor.checkpoint.voice_file import read_voice_file
from antiphon_executor.checkpoint.voices import codebook_sizes
from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_nano.checkpoint.trained_speech import REFERENCE_FRAMES, write_voices
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.recordings import CODES, Recordings
from antiphon_nano.speech.talker.lesson_book import REFERENCE_FRAMES as LEARNED
from antiphon_nano.speech.talker.lesson_book import LessonBook
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import FRAME_SAMPLES, Utterance

FRAMES = 40


def home_with_speech(path: Path) -> Path:
    for kind in ("held-heart", "held-deep"):
        said = Utterance("The dog sleeps.", kind[5:], 0, FRAMES, [1, 9, 20, 34], [5] * FRAMES)
        shard.write(path / "speech" / kind, [said], [np.zeros(FRAMES * FRAME_SAMPLES, np.float32)])
        codes = np.random.default_rng(len(kind)).integers(0, 512, (FRAMES, 8)).astype(np.int16)
        np.save(path / "speech" / f"{kind}{CODES}", codes)
    return path


def test_both_voices_are_read_by_the_server(tmp_path: Path) -> None:
    write_voices(home_with_speech(tmp_path), tmp_path / "checkpoint")
    limits = codebook_sizes(nano(nano_tokenizer().get_vocab()))
    files = sorted((tmp_path / "checkpoint" / "voices").iterdir())
    voices = [read_voice_file(file, limits) for file in files]
    assert [(voice.name, voice.default, len(voice.codes)) for voice in voices] == [
        ("Deep", False, REFERENCE_FRAMES),
        ("Heart", True, REFERENCE_FRAMES),
    ]
    assert all(voice.licence == "Apache-2.0" for voice in voices)
    assert LEARNED[0] <= REFERENCE_FRAMES <= LEARNED[1]


def test_a_lesson_has_the_prompt_that_is_served(tmp_path: Path) -> None:
    tokenizer = nano_tokenizer()
    book = LessonBook(Recordings(home_with_speech(tmp_path) / "speech", "held-heart"), tokenizer)
    lesson = book.lesson(0, conversation=False)
    assert tokenizer.decode(lesson.opening) == "<|im_start|>system\n"
    assert tokenizer.decode(lesson.closing) == "<|im_end|>\n<|im_start|>assistant\n<tts_text_bos>"
    assert tokenizer.decode(lesson.text) == "The dog sleeps.<tts_text_eod>"
    talked = book.lesson(0, conversation=True)
    spoken = [token for token in talked.closing if token >= 0]
    assert tokenizer.decode(spoken).startswith("<|im_end|>\n<|im_start|>user\n")


def test_a_step_always_has_the_same_lessons(tmp_path: Path) -> None:
    book = LessonBook(Recordings(home_with_speech(tmp_path) / "speech", "held-heart"), nano_tokenizer())
    first, again = (book.lessons(5, conversation=True) for _ in range(2))
    assert len(first) == len(again) > 1
    for one, other in zip(first, again, strict=True):
        assert one.closing == other.closing
        np.testing.assert_array_equal(one.voice, other.voice)
