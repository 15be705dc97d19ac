"""Words and samples: every character once, times that never go back, whatever comes in which order."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.protocol import SpeechDelta, SpeechEnded, TextDelta, TextEnded, TurnEvent
from antiphon_server.alignment import Alignment, TimedWord

FRAME = 10


def text_of(*tokens: str) -> list[TurnEvent]:
    """One delta a token; a token without text is one that only begins a character, or stands for none."""
    ends = accumulate(map(len, tokens))
    deltas = [TextDelta(0, token, 1, (), (end,)) for token, end in zip(tokens, ends, strict=True)]
    return [*deltas, TextDelta(0, "", 1), TextEnded(0, "stop")]


def speech_of(*text_tokens: int) -> list[TurnEvent]:
    """A frame of ten samples each, and how many tokens have entered with it."""
    deltas = [SpeechDelta(bytes(2 * FRAME), 1, tokens) for tokens in text_tokens]
    return [*deltas, SpeechEnded("stop", len(deltas))]


def words_of(*events: TurnEvent) -> list[tuple[str, int, int]]:
    alignment = Alignment()
    for event in events:
        alignment.see(event)
    return [(word.text, word.start, word.end) for word in alignment.words()]


def test_a_token_a_frame_times_every_word_by_itself() -> None:
    tokens = ["The", " quick", " est", "uary", ".", " Go"]
    assert words_of(*text_of(*tokens), *speech_of(1, 2, 3, 4, 5, 6, 6, 6)) == [
        ("The ", 0, 10),
        ("quick ", 10, 20),
        ("estuary. ", 20, 50),
        ("Go", 50, 80),
    ]


def test_a_chunk_of_tokens_gives_its_words_its_own_bounds() -> None:
    tokens = ["One", " two", " three", " four", " five", " six"]
    assert words_of(*text_of(*tokens), *speech_of(4, 4, 4, 4, 6, 6, 6)) == [
        *((word, 0, 40) for word in ("One ", "two ", "three ", "four ")),
        ("five ", 40, 70),
        ("six", 40, 70),
    ]


def test_a_word_over_two_chunks_lasts_over_both() -> None:
    assert words_of(*text_of("a", " b", "c", " d"), *speech_of(2, 2, 4, 4)) == [
        ("a ", 0, 20),
        ("bc ", 0, 40),
        ("d", 20, 40),
    ]


def test_scripts_without_spaces_are_cut_where_tokens_end() -> None:
    tokens = ["你好", "，", "世界", "。", "ABC", " こん", "にちは", "!"]
    words = words_of(*text_of(*tokens), *speech_of(*range(1, 9)))
    assert [word for word, _, _ in words] == ["你好，", "世界。", "ABC ", "こん", "にちは!"]
    assert words[1] == ("世界。", 20, 40)


def test_white_space_belongs_to_the_word_before_it_and_at_the_beginning_to_the_first() -> None:
    words = words_of(*text_of("\n ", "a", "\n\n", "b", " \n"), *speech_of(1, 2, 3, 4, 5, 5))
    assert words == [("\n a\n\n", 10, 30), ("b \n", 30, 60)]


def test_a_character_of_several_tokens_begins_with_the_one_that_completes_it() -> None:
    words = words_of(*text_of("a", " ", "", "é", " b"), *speech_of(1, 2, 3, 4, 5))
    assert words == [("a ", 0, 30), ("é ", 30, 40), ("b", 40, 50)]


def test_speech_that_is_cut_short_leaves_the_rest_of_the_text_without_length_at_its_end() -> None:
    assert words_of(*text_of("a", " b", " c"), *speech_of(1, 2)) == [
        ("a ", 0, 10),
        ("b ", 10, 20),
        ("c", 20, 20),
    ]


def test_an_answer_without_speech_has_its_words_at_zero() -> None:
    assert words_of(*text_of("a", " b"), *speech_of()) == [("a ", 0, 0), ("b", 0, 0)]
    assert words_of(*text_of(), *speech_of()) == []


def test_text_of_a_prompt_that_is_spoken_first_moves_every_word_behind_it() -> None:
    assert words_of(*text_of("a", " b"), *speech_of(0, 0, 1, 2)) == [("a ", 20, 30), ("b", 30, 40)]


def test_a_word_is_given_once_and_not_before_the_sound_it_stands_for() -> None:
    alignment = Alignment()
    for event in (*text_of("a", " b", " c"), *speech_of(1, 2, 3, 3)[:-1]):
        alignment.see(event)
    assert [word.text for word in alignment.words(until=9)] == []
    assert alignment.words(until=10) == [TimedWord(0, "a ", 0, 10)]
    assert [word.text for word in alignment.words()] == ["b "], "the last one's end is not known yet"
    alignment.see(SpeechEnded("stop", 4))
    assert alignment.words() == [TimedWord(2, "c", 20, 40)]
    assert alignment.words() == []


def test_what_had_been_said_at_a_cut() -> None:
    alignment = Alignment()
    for event in (*text_of("Good", " mor", "ning", " all"), *speech_of(2, 2, 4)):
        alignment.see(event)
    said = [alignment.text_before(sample) for sample in (0, 1, 20, 21, 99)]
    assert said == ["", "Good mor", "Good mor", "Good morning all", "Good morning all"]


TOKENS = st.lists(
    st.sampled_from(["a", " be", "  ", "", "\n", "你", "好吗", " ce", "de", "。", "é"]), max_size=20
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], list[TurnEvent], list[TurnEvent], list[bool]]:
    """Tokens, the text's and the speech's events, and in which order the two come."""
    tokens = draw(TOKENS)
    step, tail, opening = draw(st.integers(1, 5)), draw(st.integers(0, 6)), draw(st.integers(0, 2))
    entered = [min((frame // step + 1) * step, len(tokens)) for frame in range(len(tokens) + tail)]
    frames = [0] * opening + entered[: draw(st.integers(0, len(entered)))]
    text, speech = text_of(*tokens), speech_of(*frames)
    return tokens, text, speech, draw(st.permutations([True] * len(text) + [False] * len(speech)))


@given(answers(), st.integers(1, 30))
def test_in_any_order_all_the_text_is_covered_once_in_times_that_never_go_back(
    answer: tuple[list[str], list[TurnEvent], list[TurnEvent], list[bool]], reach: int
) -> None:
    tokens, text, speech, turns = answer
    alignment, given_words = Alignment(), []
    texts, speeches = iter(text), iter(speech)
    for number, is_text in enumerate(turns):
        alignment.see(next(texts if is_text else speeches))
        until = min(number * reach, alignment.samples)
        fresh = alignment.words(until)
        assert all(word.end <= until for word in fresh)
        given_words += fresh
    given_words += alignment.words()
    assert "".join(word.text for word in given_words) == "".join(tokens)
    assert [word.index for word in given_words] == list(range(len(given_words)))
    assert [(word.text, word.start, word.end) for word in given_words] == words_of(*text, *speech)
    assert all(0 <= word.start <= word.end for word in given_words)
    assert all(a.start <= b.start and a.end <= b.end for a, b in pairwise(given_words))
    assert not given_words or given_words[-1].end == alignment.samples


@given(answers(), st.lists(st.integers(0, 300), min_size=2, max_size=6))
def test_what_had_been_said_only_grows_and_holds_no_word_that_begins_later(
    answer: tuple[list[str], list[TurnEvent], list[TurnEvent], list[bool]], samples: list[int]
) -> None:
    tokens, text, speech, _ = answer
    alignment = Alignment()
    for event in (*text, *speech):
        alignment.see(event)
    words = alignment.words()
    for sample in sorted(samples):
        said = alignment.text_before(sample)
        assert "".join(tokens).startswith(said)
        begun = "".join(word.text for word in words if word.start < sample)
        assert begun.startswith(said.rstrip())
    said = [alignment.text_before(sample) for sample in sorted(samples)]
    assert all(later.startswith(earlier) for earlier, later in pairwise(said))
