"""Alignment: every character once, and times that never decrease, for any order of events."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.events import OmniEvent, SpeechDelta, SpeechEnded, TextDelta, TextEnded
from antiphon_server.chat.response.alignment import Alignment
from tests.server.chat.events import align

FRAME = 1_920
LOUD = (np.sin(np.arange(FRAME) * 0.1) * 8_000).astype("<i2").tobytes()


def text_of(*tokens: str) -> list[OmniEvent]:
    """One delta per token; a token without text begins a character, or has none."""
    ends = accumulate(map(len, tokens))
    deltas = [TextDelta(0, token, 1, (), (end,)) for token, end in zip(tokens, ends, strict=True)]
    return [*deltas, TextDelta(0, "", 1), TextEnded(0, "stop")]


def speech_of(*text_tokens: int) -> list[OmniEvent]:
    """One frame of speech per number: how many tokens have been consumed by its end."""
    deltas = [SpeechDelta(LOUD, 1, tokens) for tokens in text_tokens]
    return [*deltas, SpeechEnded("stop", len(deltas))]


def words_of(*events: OmniEvent) -> list[tuple[str, int, int]]:
    alignment = Alignment()
    for event in events:
        align(alignment, event)
    return [(word.text, word.start, word.end) for word in alignment.timed_words()]


def frames_of(words: list[tuple[str, int, int]]) -> list[tuple[str, float, float]]:
    return [(text, round(start / FRAME, 2), round(end / FRAME, 2)) for text, start, end in words]


def test_words_share_the_sound_by_their_length_though_all_are_taken_in_at_once() -> None:
    """`One ` and `two ` weigh 2.6 frames each, `three ` 3.8, `four` 3.2 and 2 since it is the last one."""
    words = words_of(*text_of("One", " two", " three", " four"), *speech_of(*[4] * 14))
    assert frames_of(words) == [
        ("One ", 0.0, pytest.approx(2.6, abs=0.3)),
        ("two ", pytest.approx(2.6, abs=0.3), pytest.approx(5.1, abs=0.3)),
        ("three ", pytest.approx(5.1, abs=0.3), pytest.approx(8.9, abs=0.3)),
        ("four", pytest.approx(8.9, abs=0.3), 14.0),
    ]


def test_a_word_waits_until_it_is_taken_in_however_early_it_should_be_said() -> None:
    words = words_of(*text_of("a", " b", " c"), *speech_of(*[1] * 7, *[2] * 2, 3))
    assert [(word, start) for word, start, _ in frames_of(words)] == [("a ", 0), ("b ", 7), ("c", 9)]


def test_a_word_of_several_tokens_begins_with_its_first() -> None:
    tokens = ["The", " quick", " est", "uary", ".", " Go"]
    words = frames_of(words_of(*text_of(*tokens), *speech_of(*range(1, 7), *[6] * 14)))
    assert [word for word, _, _ in words] == ["The ", "quick ", "estuary. ", "Go"]
    assert all(start < end for _, start, end in words)


def test_scripts_without_spaces_are_cut_where_tokens_end() -> None:
    tokens = ["你好", "，", "世界", "。", "ABC", " こん", "にちは", "!"]
    words = words_of(*text_of(*tokens), *speech_of(*[8] * 24))
    assert [word for word, _, _ in words] == ["你好，", "世界。", "ABC ", "こん", "にちは!"]
    assert all(a[2] <= b[1] for a, b in pairwise(words))


def test_white_space_belongs_to_the_word_before_it_and_at_the_beginning_to_the_first() -> None:
    words = words_of(*text_of("\n ", "a", "\n\n", "b", " \n"), *speech_of(1, 2, 3, 4, 5, 5))
    assert [word for word, _, _ in words] == ["\n a\n\n", "b \n"]
    assert words[0][1] >= FRAME


def test_a_character_of_several_tokens_begins_with_the_one_that_completes_it() -> None:
    words = words_of(*text_of("a", " ", "", "é", " b"), *speech_of(1, 2, 3, 4, 5))
    assert [word for word, _, _ in words] == ["a ", "é ", "b"]
    assert words[1][1] >= 3 * FRAME


def test_speech_that_is_cut_short_leaves_the_rest_of_the_text_without_length_at_its_end() -> None:
    events = [*text_of("a", " b", " c"), *speech_of(1, 2)[:-1], SpeechEnded("length", 2)]
    a, b, c = frames_of(words_of(*events))
    assert a == ("a ", 0, pytest.approx(1.5, abs=0.3))
    assert b == ("b ", a[2], 2)
    assert c == ("c", 2, 2)


def test_an_answer_without_speech_has_its_words_at_zero() -> None:
    assert words_of(*text_of("a", " b"), *speech_of()) == [("a ", 0, 0), ("b", 0, 0)]
    assert words_of(*text_of(), *speech_of()) == []


def test_text_of_a_prompt_that_is_spoken_first_moves_every_word_behind_it() -> None:
    words = frames_of(words_of(*text_of("a", " b"), *speech_of(0, 0, 0, 0, 1, 2)))
    assert [(word, start) for word, start, _ in words] == [("a ", 4), ("b", 5)]


def test_a_word_is_given_once_and_not_before_the_sound_that_says_it() -> None:
    alignment = Alignment()
    for event in (*text_of("Hello", " there", " you"), *speech_of(*[3] * 9)[:-1]):
        align(alignment, event)
    assert alignment.timed_words(until=2 * FRAME) == []
    (first,) = alignment.timed_words(until=5 * FRAME)
    assert (first.index, first.text, first.start) == (0, "Hello ", 0)
    assert [word.text for word in alignment.timed_words()] == ["there "], (
        "the speech has not reached the last one"
    )
    align(alignment, SpeechEnded("stop", 9))
    (last,) = alignment.timed_words()
    assert (last.text, last.end) == ("you", 9 * FRAME)
    assert alignment.timed_words() == []


def test_a_slow_voice_says_its_words_later() -> None:
    ends = []
    for pace in (1.0, 1.5):
        alignment = Alignment()
        for event in (*text_of("Hello", " there", " you"), *[SpeechDelta(LOUD, 1, 3, pace)] * 9):
            align(alignment, event)
        ends.append(alignment.timed_words()[0].end)
    assert ends[1] > 1.3 * ends[0]


def test_what_may_have_been_said_at_a_cut() -> None:
    alignment = Alignment()
    for event in (*text_of("Good", " mor", "ning", " all"), *speech_of(2, 2, 4)):
        align(alignment, event)
    said = [alignment.text_before(sample) for sample in (0, 1, 2 * FRAME, 2 * FRAME + 1, 99 * FRAME)]
    assert said == ["", "Good mor", "Good mor", "Good morning all", "Good morning all"]


TOKENS = st.lists(
    st.sampled_from(["a", " be", "  ", "", "\n", "你", "好吗", " ce", "de", "。", "é"]), max_size=20
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], list[OmniEvent], list[OmniEvent], list[bool]]:
    """Tokens, the events of text and speech, and the order of both."""
    tokens = draw(TOKENS)
    step, tail, opening = draw(st.integers(1, 5)), draw(st.integers(0, 6)), draw(st.integers(0, 2))
    entered = [min((frame // step + 1) * step, len(tokens)) for frame in range(len(tokens) + tail)]
    frames = [0] * opening + entered[: draw(st.integers(0, len(entered)))]
    text, speech = text_of(*tokens), speech_of(*frames)
    return tokens, text, speech, draw(st.permutations([True] * len(text) + [False] * len(speech)))


@given(answers(), st.integers(1, 30))
def test_in_any_order_all_the_text_is_covered_once_in_times_that_never_go_back(
    answer: tuple[list[str], list[OmniEvent], list[OmniEvent], list[bool]], reach: int
) -> None:
    tokens, text, speech, turns = answer
    alignment, given_words = Alignment(), []
    texts, speeches = iter(text), iter(speech)
    for number, is_text in enumerate(turns):
        align(alignment, next(texts if is_text else speeches))
        until = min(number * reach * FRAME // 10, alignment.samples)
        fresh = alignment.timed_words(until)
        assert all(word.end <= until for word in fresh)
        given_words += fresh
    given_words += alignment.timed_words()
    assert "".join(word.text for word in given_words) == "".join(tokens)
    assert [word.index for word in given_words] == list(range(len(given_words)))
    assert [word.text for word in given_words] == [word for word, _, _ in words_of(*text, *speech)]
    assert all(0 <= word.start <= word.end for word in given_words)
    assert all(a.start <= b.start and a.end <= b.end for a, b in pairwise(given_words))
    assert not given_words or given_words[-1].end <= alignment.samples


@given(answers())
def test_no_word_begins_before_the_speech_has_taken_it_in(
    answer: tuple[list[str], list[OmniEvent], list[OmniEvent], list[bool]],
) -> None:
    tokens, text, speech, _ = answer
    alignment = Alignment()
    for event in (*text, *speech):
        align(alignment, event)
    entered = [delta.text_tokens for delta in speech if isinstance(delta, SpeechDelta)]
    ends, at = list(accumulate(map(len, tokens))), 0
    for word in alignment.timed_words():
        letter = at + len(word.text) - len(word.text.lstrip())
        token = next((n for n, end in enumerate(ends, 1) if end > letter), len(ends) + 1)
        first = next((n for n, known in enumerate(entered) if known >= token), len(entered))
        assert word.start >= first * FRAME or not word.text.strip()
        at += len(word.text)


@given(answers(), st.lists(st.integers(0, 300 * FRAME // 10), min_size=2, max_size=6))
def test_what_may_have_been_said_only_grows_and_holds_every_word_that_has_begun(
    answer: tuple[list[str], list[OmniEvent], list[OmniEvent], list[bool]], samples: list[int]
) -> None:
    tokens, text, speech, _ = answer
    alignment = Alignment()
    for event in (*text, *speech):
        align(alignment, event)
    words = alignment.timed_words()
    for sample in sorted(samples):
        said = alignment.text_before(sample)
        assert "".join(tokens).startswith(said)
        at = 0
        for word in words:
            letter = at + len(word.text) - len(word.text.lstrip())
            at += len(word.text)
            assert letter < len(said) or word.start >= min(sample, alignment.samples) or not word.text.strip()
    said = [alignment.text_before(sample) for sample in sorted(samples)]
    assert all(later.startswith(earlier) for earlier, later in pairwise(said))
