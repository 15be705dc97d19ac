"""Speech follows ARIA's rule, and is the same with and without a cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from antiphon_executor.models.aria.chunk_rule import Kind, stream_order
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.reference.speech import Speech, family_sampling, speak
from antiphon_executor.reference.talker import Talker, Utterance
from tests.reference import mini

GREEDY = StreamSampling(seed=0, temperature=0.0, repetition_penalty=1.0)
TEXT = [33, 41, 29, 50, 38, 22, 47, 31, 55, 26]
MAX_FRAMES = 22


class Cached:
    """A stream that keeps keys, values and recurrent states: rows enter once and are never run again."""

    def __init__(self, talker: Talker) -> None:
        self._model = talker.model
        self._cache = DynamicCache(config=talker.model.config)
        self.rows: list[Tensor] = []

    def __call__(self, rows: Tensor) -> Tensor:
        start = sum(len(rows) for rows in self.rows)
        self.rows.append(rows)
        positions = torch.arange(start, start + len(rows)).expand(3, 1, -1)
        states = self._model(
            inputs_embeds=rows[None], position_ids=positions, past_key_values=self._cache, use_cache=True
        )
        return states.last_hidden_state[0, -1]


@pytest.fixture(scope="module", params=[mini.MOE, mini.DENSE], ids=["MoE", "dense"])
def talker(request: pytest.FixtureRequest) -> Talker:
    return mini.mini_model(seed=7, talker_text=request.param).talker


@torch.no_grad()
def prompt_rows(talker: Talker) -> Tensor:
    return torch.cat(
        (talker.voice_rows(mini.mini_voice()), talker.text_rows([mini.TTS_BOS]), talker.code_rows([65]))
    )


def spoken(talker: Talker, sampling: StreamSampling = GREEDY, text: list[int] = TEXT) -> Speech:
    return speak(talker, prompt_rows(talker), text, mini.TTS_EOS, sampling, MAX_FRAMES)


@pytest.fixture(scope="module")
def said(talker: Talker) -> Speech:
    """`TEXT`, greedily."""
    return spoken(talker)


@pytest.fixture
def eager_to_end(talker: Talker) -> Iterator[Talker]:
    """A Talker that would rather end than say anything: its head gives EOS the best logit, always."""

    def prefer_end(_head: object, _given: object, logits: Tensor) -> Tensor:
        return logits + 1e3 * (torch.arange(mini.CODEC_VOCAB) == mini.EOS)

    hook = talker.codec_head.register_forward_hook(prefer_end)
    yield talker
    hook.remove()


@pytest.mark.parametrize("words", [0, 3, 4, 8])
def test_nothing_ends_while_text_remains_and_everything_may_after(eager_to_end: Talker, words: int) -> None:
    speech = spoken(eager_to_end, text=TEXT[:words])
    assert speech.ended
    assert len(speech.codes) == words // 4 * 4


def test_the_limit_of_frames_ends_an_answer_in_the_middle_of_its_text(talker: Talker, said: Speech) -> None:
    speech = speak(talker, prompt_rows(talker), TEXT, mini.TTS_EOS, GREEDY, max_frames=6)
    assert not speech.ended
    assert torch.equal(speech.codes, said.codes[:6])
    assert speech.order == said.order[:14]


@pytest.mark.parametrize("words", [0, 3, 4, 10])
def test_text_and_frames_stand_four_by_four(talker: Talker, words: int) -> None:
    speech = spoken(talker, text=TEXT[:words])
    assert len(speech.codes) > words // 4 * 4
    assert list(speech.order) == stream_order(words + 1, len(speech.codes), 4, 4)
    assert speech.codes.shape == (len(speech.codes), mini.GROUPS)
    assert (speech.codes < mini.CODES).all()


@pytest.mark.parametrize("sampling", [GREEDY, family_sampling(seed=7)], ids=["greedy", "sampled"])
def test_a_cached_stream_speaks_as_one_that_is_run_again(talker: Talker, sampling: StreamSampling) -> None:
    cached = Cached(talker)
    speech = speak(talker, prompt_rows(talker), TEXT, mini.TTS_EOS, sampling, MAX_FRAMES, cached)
    expected = spoken(talker, sampling)
    assert torch.equal(speech.codes, expected.codes)
    assert len(speech.codes.unique(dim=0)) > 8


def test_rows_are_appended_and_what_is_drawn_ahead_is_not(talker: Talker) -> None:
    cached = Cached(talker)
    speech = speak(talker, prompt_rows(talker), TEXT, mini.TTS_EOS, GREEDY, MAX_FRAMES, cached)
    with torch.no_grad():
        text, frames = talker.text_rows([*TEXT, mini.TTS_EOS]), talker.frame_rows(speech.codes)
        kinds = {Kind.TEXT: text, Kind.FRAME: frames}
        expected = torch.stack([kinds[row.kind][row.index] for row in speech.order])
    assert torch.equal(torch.cat(cached.rows)[len(prompt_rows(talker)) :], expected)
    assert [len(rows) for rows in cached.rows[1:11]] == [1, 1, 1, 1, 4, 1, 1, 1, 1, 3]


def test_a_whole_pass_over_the_finished_stream_predicts_every_code(talker: Talker, said: Speech) -> None:
    speech = said
    with torch.no_grad():
        (logits,) = talker([Utterance(prompt_rows(talker), [*TEXT, mini.TTS_EOS], speech.codes)])
    code0 = logits.code0[:-1, : mini.CODES].argmax(-1)
    assert torch.equal(code0, speech.codes[:, 0])
    assert torch.equal(logits.residual.argmax(-1), speech.codes[:, 1:])
    assert logits.code0.shape == (len(speech.codes) + 1, mini.CODEC_VOCAB)


@torch.no_grad()
def test_an_utterance_is_judged_the_same_alone_and_in_company(talker: Talker) -> None:
    generator = torch.Generator().manual_seed(0)
    utterances = [
        Utterance(
            talker.voice_rows(mini.mini_voice(frames)),
            [*TEXT[:words], mini.TTS_EOS],
            torch.randint(mini.CODES, (frames, mini.GROUPS), generator=generator),
        )
        for words, frames in ((10, 25), (0, 2), (3, 1), (4, 9))
    ]
    for utterance, judged in zip(utterances, talker(utterances), strict=True):
        (alone,) = talker([utterance])
        torch.testing.assert_close(judged.code0, alone.code0, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(judged.residual, alone.residual, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("frames", "message"), [(0, "without frames"), (7, "end before")])
def test_an_utterance_that_cannot_be_spoken_is_refused(talker: Talker, frames: int, message: str) -> None:
    codes = torch.zeros(frames, mini.GROUPS, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        talker([Utterance(prompt_rows(talker), [*TEXT, mini.TTS_EOS], codes)])


def test_the_repetition_penalty_sees_one_chunk(talker: Talker, said: Speech) -> None:
    """Under a penalty that forbids every repeat, codes differ within a chunk and come back in the next."""
    forbidding = StreamSampling(seed=0, temperature=0.0, repetition_penalty=1e9)
    speech = speak(talker, prompt_rows(talker), TEXT * 4, mini.TTS_EOS, forbidding, max_frames=40)
    code0 = speech.codes[:, 0]
    pieces = code0.split(4)
    assert all(len(piece.unique()) == len(piece) for piece in pieces)
    assert said.codes[0, 0] == code0[0]
    assert len(code0.unique()) < len(code0)


def test_a_voice_is_heard_in_what_is_said(talker: Talker, said: Speech) -> None:
    voice = mini.mini_voice()
    other = replace(voice, codes=(voice.codes + 1) % mini.CODES)
    with torch.no_grad():
        rows = talker.voice_rows(voice)
        assert len(rows) == len(voice.opening) + len(voice.codes) + len(voice.closing)
        frame = talker.code_rows([int(voice.codes[0, 0])])[0]
        for group, table in enumerate(talker.code_predictor.model.codec_embedding, start=1):
            frame = frame + table.weight[voice.codes[0, group]]
        torch.testing.assert_close(rows[len(voice.opening)], frame)
        end = prompt_rows(talker)[len(rows) :]
        changed = torch.cat((talker.voice_rows(other), end))
    speech = speak(talker, changed, TEXT, mini.TTS_EOS, GREEDY, MAX_FRAMES)
    assert not torch.equal(speech.codes, said.codes)
