"""The Talker's lessons: streams as in serving, with the right targets."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeTalkerConfig
from antiphon_executor.reference.speech import Rerun, speak
from antiphon_executor.reference.talker import Talker, Utterance
from antiphon_nano.speech.recovery import lockstep
from antiphon_nano.speech.talker.lesson import NOTHING, Lesson, batch_of
from antiphon_nano.speech.talker.pointer import Pointer
from antiphon_nano.speech.talker.talker_loss import TalkerLoss
from antiphon_nano.speech.talker.talker_start import fresh_talker, soft_labels
from antiphon_nano.speech.talker.talker_trial import GREEDY, Cached
from tests.reference.mini import CODEC_VOCAB, CODES, EOS, GROUPS, TTS_EOS, mini_config

TEXT = (21, 22, 23, 24, 25, 26, TTS_EOS)
STARTS = (1, 2, 4, 5, 8, 10)


@pytest.fixture(scope="module")
def codebooks() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(GROUPS, CODES, 8) * torch.tensor([1.0, 0.6, 0.4, 0.2])[:, None, None]


@pytest.fixture(scope="module")
def loss(codebooks: torch.Tensor) -> TalkerLoss:
    config: Qwen3_5OmniMoeTalkerConfig = mini_config().talker_config
    return TalkerLoss(fresh_talker(config, codebooks), soft_labels(codebooks)).eval()


def lesson(frames: int = 12, text: tuple[int, ...] = TEXT, closing: tuple[int, ...] = (30, 31)) -> Lesson:
    rng = np.random.default_rng(frames)
    codes, voice = (rng.integers(0, CODES, (count, GROUPS)) for count in (frames, 3))
    starts = STARTS[: len(text) - 1]
    return Lesson((28, 29), voice, closing, text, starts, codes, rng.integers(0, 50, frames))


def prompt_rows(talker: Talker, given: Lesson) -> torch.Tensor:
    return torch.cat(
        (
            talker.text_rows(given.opening),
            talker.frame_rows(torch.from_numpy(given.voice)),
            talker.text_rows(given.closing),
            talker.code_rows([talker.config.codec_bos_id]),
        )
    )


@torch.no_grad()
def test_a_batch_has_the_embeddings_of_the_reference(loss: TalkerLoss) -> None:
    talker = loss.talker.eval()
    lessons = [lesson(12), lesson(17), lesson(9, (20, TTS_EOS))]
    batch = batch_of(lessons)
    states = talker.hidden(loss.rows(batch))
    drawn = batch.codes[..., 0] >= 0
    for number, given in enumerate(lessons):
        codes = torch.from_numpy(given.codes)
        (meant,) = talker([Utterance(prompt_rows(talker, given), given.text, codes)])
        ours = states[number][drawn[number] | batch.ends[number]]
        torch.testing.assert_close(talker.codec_head(ours), meant.code0)
        residual = loss.predicted(states[number][drawn[number]], batch.codes[number][drawn[number]])
        torch.testing.assert_close(residual, meant.residual)


def test_the_pointer_s_targets_are_the_spoken_token_and_the_next() -> None:
    given = lesson(12)
    batch = batch_of([given])
    spoken = batch.spoken[0][batch.codes[0, :, 0] >= 0]
    tokens = batch.tokens[0]

    def said(row: int) -> int:
        return int(tokens[row]) if row >= 0 else NOTHING

    now, behind = ([said(int(row)) for row in spoken[:, column]] for column in (0, 1))
    # The last frame is silence and belongs to tts_eos; frame 0 is silence before the first word.
    assert now == [21, 21, 22, 22, 23, 24, 24, 24, 25, 25, 26, TTS_EOS]
    assert behind[:5] == [22, 22, 23, 23, 24]
    # Token 25 enters with the second chunk, after frame 3. Before that there is no target.
    assert behind[5] == 25


def test_a_token_is_no_target_before_it_is_in_the_stream() -> None:
    batch = batch_of([lesson(12), lesson(17)])
    rows = torch.arange(batch.spoken.shape[1])[None, :, None]
    assert (batch.spoken <= rows).all()


def test_media_in_a_prompt_are_zero_embeddings(loss: TalkerLoss) -> None:
    given = lesson(12, closing=(30, NOTHING, NOTHING, 31))
    rows = loss.rows(batch_of([given]))[0]
    place = len(given.opening) + len(given.voice) + 1
    assert rows[place : place + 2].eq(0).all()
    assert rows[place + 2].ne(0).any()


def test_soft_labels_leave_three_quarters_to_the_true_code(codebooks: torch.Tensor) -> None:
    labels = soft_labels(codebooks)
    torch.testing.assert_close(labels.sum(-1), torch.ones(GROUPS, CODES))
    torch.testing.assert_close(
        labels.diagonal(dim1=1, dim2=2).mean(1), torch.full((GROUPS,), 0.75), atol=1e-3, rtol=0
    )
    distances = torch.cdist(codebooks[0], codebooks[0])
    nearest = distances.fill_diagonal_(9e9).argmin(1)
    others = labels[0].clone().fill_diagonal_(0)
    assert others.argmax(1).equal(nearest)


def test_the_pointer_s_probabilities_are_the_layer_s_attention(loss: TalkerLoss) -> None:
    talker = loss.talker.eval()
    pointer = Pointer(talker.model)
    shares: list[torch.Tensor] = []
    talker.model.config._attn_implementation = "eager"
    hook = pointer._layer.register_forward_hook(lambda module, given, out: shares.append(out[1]))
    with torch.no_grad():
        talker.hidden(torch.randn(2, 9, talker.codec_head.in_features))
        ours = pointer.log_attention().exp()
    hook.remove()
    talker.model.config._attn_implementation = "sdpa"
    torch.testing.assert_close(ours, shares[0][:, : ours.shape[1]], atol=1e-4, rtol=1e-3)


def test_a_step_lowers_the_loss(codebooks: torch.Tensor) -> None:
    torch.manual_seed(1)
    talker = fresh_talker(mini_config().talker_config, codebooks)
    loss = TalkerLoss(talker, soft_labels(codebooks)).train()
    optimizer = torch.optim.AdamW([*talker.parameters(), *loss.parameters()], 3e-3)
    batch = batch_of([lesson(12), lesson(17)])
    first = {name: float(value.detach()) for name, value in loss(batch).items()}
    for _ in range(25):
        loss(batch)["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
    last = loss(batch)
    assert all(float(last[name].detach()) < 0.9 * value for name, value in first.items())


def test_eos_has_a_label_of_its_own(loss: TalkerLoss) -> None:
    batch = batch_of([lesson(12)])
    logits = torch.zeros(13, CODEC_VOCAB)
    unsure = loss._code0_loss(logits, batch)
    logits[-1, EOS] = 20
    assert loss._code0_loss(logits, batch) < unsure


def test_speech_with_caches_is_speech_without(loss: TalkerLoss) -> None:
    talker = loss.talker.eval()
    rows = prompt_rows(talker, lesson(12)).detach()
    slow, fast = (
        speak(talker, rows, TEXT[:-1], TTS_EOS, GREEDY, 14, extend)
        for extend in (Rerun(talker), Cached(talker))
    )
    assert len(slow.codes) > 4
    assert fast.codes.equal(slow.codes)


def test_texts_spoken_at_once_equal_each_alone(loss: TalkerLoss) -> None:
    talker = copy.deepcopy(loss.talker).eval()
    # With such a large logit, EOS is drawn at some point, in each stream at another.
    talker.codec_head.weight.data[EOS] *= 3
    rows = prompt_rows(talker, lesson(12)).detach()
    texts = [TEXT[:-1], (26, 25, 24, 23, 22, 21), (21, 21, 21, 30, 31, 22)]
    alone = [speak(talker, rows, text, TTS_EOS, GREEDY, 14, Cached(talker)).codes for text in texts]
    together = lockstep.speak_all(talker, rows, texts, TTS_EOS, 14)
    assert len({len(codes) for codes in alone}) > 1
    assert all(ours.equal(meant) for ours, meant in zip(together, alone, strict=True))


def test_training_input_contains_the_talker_s_own_frames(loss: TalkerLoss) -> None:
    torch.manual_seed(0)
    given = lesson(40)
    batch = batch_of([given, lesson(30)])
    heard = loss._with_own_frames(batch)
    assert heard.codes.equal(batch.codes)
    voice = slice(len(given.opening), len(given.opening) + len(given.voice))
    assert heard.frames[:, voice].equal(batch.frames[:, voice])
    other = (heard.frames != batch.frames).any(-1)
    assert 0 < other.sum() < 0.7 * 70
    row = int(other[0].nonzero()[0])
    states = loss.talker.hidden(loss.rows(batch))
    drawn = (batch.codes[0, :, 0] >= 0).nonzero()[:, 0]
    entered = [r for r in (batch.frames[0, :, 0] >= 0).nonzero()[:, 0].tolist() if r >= voice.stop]
    predicting = drawn[entered.index(row)]
    assert heard.frames[0, row, 0] == loss.talker.codec_head(states[0, predicting])[:CODES].argmax()


def test_errors_in_the_first_frames_weigh_more(loss: TalkerLoss) -> None:
    batch = batch_of([lesson(12)])
    early, late = torch.zeros(2, 13, CODEC_VOCAB)
    for logits, place in ((early, 1), (late, 9)):
        meant = batch.codes[0][batch.codes[0, :, 0] >= 0][place, 0]
        logits[place, (meant + 1) % CODES] = 20
    unsure = loss._code0_loss(torch.zeros(13, CODEC_VOCAB), batch)
    ratio = (loss._code0_loss(early, batch) - unsure) / (loss._code0_loss(late, batch) - unsure)
    assert 1.6 < ratio < 2.4
