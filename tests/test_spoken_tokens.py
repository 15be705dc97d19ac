"""Every token is spoken once and in order, except the end token and stop strings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.turn.spoken_tokens import SpokenTokenFilter, SpokenTokens

END = 0
WORDS = {END: "", 1: "a", 2: " quiet", 3: " ST", 4: "OP", 5: " word", 6: "", 7: "\N{GRINNING FACE}"}


def decode(tokens: list[int]) -> str:
    return "".join(WORDS[token] for token in tokens)


def speakable(*, has_stop: bool = False) -> SpokenTokenFilter:
    return SpokenTokenFilter(decode, frozenset({END}), has_stop)


@given(st.lists(st.lists(st.sampled_from([1, 2, 3, 4, 5]), max_size=3), max_size=8))
def test_given_any_deltas_then_each_token_is_spoken_as_it_comes(deltas: list[list[int]]) -> None:
    text = speakable()
    whole: list[int] = []
    for delta in deltas:
        spoken = text.release(delta, decode(delta))
        ends = [len(decode(whole + delta[:count])) for count in range(1, len(delta) + 1)]
        assert spoken == SpokenTokens(tuple(delta), tuple(ends))
        whole += delta
    assert text.release([END], "") == SpokenTokens((), ())


@given(st.lists(st.sampled_from([1, 2, 3, 4, 5]), min_size=1, max_size=12), st.integers(0, 20))
def test_given_stop_strings_then_no_token_is_spoken_before_its_text_is_released(
    tokens: list[int], held: int
) -> None:
    """vLLM holds back as many characters as the longest stop string could take."""
    text, released, spoken = speakable(has_stop=True), 0, []
    for count in range(1, len(tokens) + 1):
        certain = max(released, len(decode(tokens[:count])) - held)
        taken = text.release([tokens[count - 1]], decode(tokens)[released:certain])
        said = range(len(spoken) + 1, len(spoken) + len(taken.token_ids) + 1)
        assert taken.ends == tuple(len(decode(tokens[:number])) for number in said)
        spoken += taken.token_ids
        released = certain
        assert decode(tokens).startswith(decode(spoken))
        assert len(decode(spoken)) <= released
    spoken += text.release([END], decode(tokens)[released:]).token_ids
    assert spoken == tokens


def test_given_a_stop_string_then_its_tokens_stay_unspoken() -> None:
    text = speakable(has_stop=True)
    assert text.release([1], "").token_ids == ()
    assert text.release([2], "a q") == SpokenTokens((1,), (1,))
    assert text.release([3], "uiet") == SpokenTokens((2,), (7,))
    assert text.release([4], "").token_ids == ()


def test_given_a_character_of_several_tokens_then_it_ends_with_the_last_of_them() -> None:
    """vLLM releases a character when it is whole; the end token may come in the same delta."""
    text = speakable()
    assert text.release([1, 6], "a") == SpokenTokens((1, 6), (1, 1))
    assert text.release([7, END], "\N{GRINNING FACE}") == SpokenTokens((7,), (2,))


CALL = 8


def calling(*, has_stop: bool = False) -> SpokenTokenFilter:
    words = {**WORDS, CALL: "<call>", 9: " \n"}
    decode_all = lambda tokens: "".join(words[token] for token in tokens)  # noqa: E731
    return SpokenTokenFilter(decode_all, frozenset({END}), has_stop, unspoken_from=CALL)


def test_nothing_is_spoken_from_a_tool_call_on() -> None:
    text = calling()
    assert text.release([1, 2], "a quiet") == SpokenTokens((1, 2), (1, 7))
    assert text.release([5, CALL, 1], " word<call>a") == SpokenTokens((5,), (12,))
    assert text.is_over
    assert text.release([2, END], " quiet") == SpokenTokens((), ())
    assert text.text == "a quiet word"


def test_white_space_before_a_tool_call_is_not_spoken() -> None:
    text = calling()
    assert text.release([9], " \n") == SpokenTokens((), ())
    assert text.release([CALL, 1], "<call>a") == SpokenTokens((), ())


def test_white_space_before_a_word_is_spoken_with_it() -> None:
    text = calling()
    assert text.release([9], " \n") == SpokenTokens((), ())
    assert text.release([1], "a") == SpokenTokens((9, 1), (2, 3))


def test_what_waits_for_a_stop_string_is_spoken_when_a_tool_call_begins() -> None:
    """vLLM holds the last characters back, and nothing of the speech may be lost with them."""
    text = calling(has_stop=True)
    assert text.release([1, 2], "a") == SpokenTokens((1,), (1,))
    assert text.release([5], " quiet") == SpokenTokens((2,), (7,))
    assert text.release([CALL], " word") == SpokenTokens((5,), (12,))
    assert text.is_over


@given(st.lists(st.lists(st.sampled_from([1, 2, 3, 4, 5]), min_size=1, max_size=3), min_size=1, max_size=8))
def test_offering_tools_changes_nothing_of_an_answer_without_a_call(deltas: list[list[int]]) -> None:
    plain, offered = speakable(), calling()
    for delta in deltas:
        assert offered.release(delta, decode(delta)) == plain.release(delta, decode(delta))


def test_the_text_so_far_is_not_decoded_again_for_each_token() -> None:
    decoded = 0

    def counting(tokens: list[int]) -> str:
        nonlocal decoded
        decoded += len(tokens)
        return decode(tokens)

    text = SpokenTokenFilter(counting, frozenset({END}), has_stop=False, unspoken_from=CALL)
    for _ in range(1_000):
        text.release([1], "a")
    assert decoded < 2_000
