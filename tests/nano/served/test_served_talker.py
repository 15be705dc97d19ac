"""The served Talker: its prompt, text and audio equal those of training."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch

from antiphon_executor.checkpoint.model_card import text_ends
from antiphon_executor.checkpoint.voices import voice_prompts
from antiphon_executor.models.aria.text_chunker import TextChunker
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.qwen3_5_omni.presets import NANO_MEDIA_ROWS
from antiphon_executor.models.qwen3_5_omni.talker_prompt import VoicePrompt
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.weights import read_wanted
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.turn.spoken_tokens import SpokenTokenFilter
from antiphon_nano.checkpoint import unspoken_words as unheard
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.recordings import Recordings
from antiphon_nano.speech.talker.lesson import NOTHING, Lesson, batch_of
from antiphon_nano.speech.talker.lesson_book import LessonBook
from antiphon_nano.speech.talker.talker_loss import TalkerLoss
from antiphon_nano.speech.vocoder.vocoder_training import sounds_of
from antiphon_nano.training import weights
from tests.nano.served.server_path import Message, Served, heard, served, shown
from tests.nano.served.test_served_thinker import drawn, recording
from tests.server.media.conftest import started_loader  # noqa: F401

Model = Qwen3_5OmniMoeForConditionalGeneration


@pytest_asyncio.fixture(scope="module")
async def server(exported: Path, started_loader) -> Served:  # type: ignore[no-untyped-def]  # noqa: F811
    return served(exported, started_loader)


@pytest.fixture(scope="module")
def model(exported: Path) -> Model:
    return Model.from_pretrained(exported, dtype=torch.float32).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def voice(exported: Path, model: Model) -> VoicePrompt:
    return next(v.prompt for v in voice_prompts(exported, model.config, None) if v.voice.default)


@pytest.fixture(scope="module")
def book(stages: Path) -> LessonBook:
    return LessonBook(Recordings(stages / "speech"), nano_tokenizer())


def as_trained(model: Model, book: LessonBook, voice: VoicePrompt, closing: tuple[int, ...]) -> torch.Tensor:
    """The prompt of a lesson in this voice, followed by `closing`."""
    taught = book.lesson(0)
    lesson = Lesson(
        taught.opening, voice.codes, closing, taught.text, taught.starts, taught.codes, taught.phonemes
    )
    batch = batch_of([lesson])
    loss = TalkerLoss(model.talker, torch.zeros(8, 512, 512)).eval()
    return loss.rows(batch)[0, : int(batch.begins[0].nonzero()) + 1]


def question_of(closing: tuple[int, ...]) -> list[int]:
    """The user's words and media in a lesson's prompt."""
    ids = nano_tokenizer().get_vocab()
    begin = closing.index(ids["user"]) + 2
    return list(closing[begin : closing.index(ids["<|im_end|>"], begin)])


def closing_of(book: LessonBook, spoken_to: bool) -> tuple[int, ...]:
    """From the first lesson with one user turn, typed, or spoken within the limit on media rows."""
    ids = nano_tokenizer().get_vocab()
    sound, picture, user = ids["<|audio_start|>"], ids["<|vision_start|>"], ids["user"]
    for seed in range(100):
        closing = book._closing(np.random.default_rng(seed), conversation=True)
        question = question_of(closing)
        plain = closing.count(user) == 1 and picture not in closing
        short = closing.count(NOTHING) <= NANO_MEDIA_ROWS
        asked_first = sound in question[1:]
        if plain and short and not asked_first and (sound in question) == spoken_to:
            return closing
    raise LookupError("no such lesson")


@pytest.mark.parametrize("spoken_to", [False, True], ids=["typed", "spoken"])
async def test_the_talker_s_prompt_is_encoded_as_in_a_lesson(
    server: Served, model: Model, book: LessonBook, voice: VoicePrompt, spoken_to: bool
) -> None:
    closing = closing_of(book, spoken_to)
    question, tokenizer = question_of(closing), nano_tokenizer()
    media = question.count(NOTHING)
    words = [t for t in question if t != NOTHING and not tokenizer.decode([t]).startswith("<|")]
    parts: list[Message] = [{"type": "text", "text": tokenizer.decode(words)}]
    if spoken_to:
        # Tokens of a sound, 7 per second.
        seconds, rest = divmod(media, 7)
        parts = [heard(recording(seconds + rest * 0.16)), *parts]

    prompt = await server.prompt([{"role": "user", "content": parts}])

    assert int((prompt.token_ids == server.ids.audio).sum()) == media
    torch.testing.assert_close(model.talker_rows(prompt, voice), as_trained(model, book, voice, closing))


async def test_media_are_zero_embeddings_and_at_most_as_many_as_in_training(
    server: Served, model: Model, voice: VoicePrompt
) -> None:
    messages = [{"role": "user", "content": [shown(drawn(1)[0]), heard(recording(4.0))]}]
    prompt = await server.prompt(messages)
    assert int(server.ids.is_media(prompt.token_ids.numpy()).sum()) == 36 + 28

    rows = model.talker_rows(prompt, voice)

    assert int(rows.eq(0).all(1).sum()) == NANO_MEDIA_ROWS


async def test_the_talker_does_not_read_instructions_or_earlier_answers(
    server: Served, model: Model, voice: VoicePrompt
) -> None:
    instructed = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "the dog"},
        {"role": "assistant", "content": "The dog sleeps."},
        {"role": "user", "content": "the cat"},
    ]
    rows = model.talker_rows(await server.prompt(instructed), voice)
    ids = nano_tokenizer().encode(
        "<|im_start|>user\nthe dog<|im_end|>\n<|im_start|>user\nthe cat<|im_end|>\n"
    )
    begin = len(voice.opening) + len(voice.codes) + len(voice.closing)
    assert rows[begin : begin + len(ids)].equal(model.talker.text_rows(ids))
    assert len(rows) == begin + len(ids) + len(["<|im_start|>", "assistant", "\n", "tts_bos", "codec_bos"])


async def test_the_spoken_text_is_encoded_as_in_a_lesson(
    exported: Path, model: Model, book: LessonBook
) -> None:
    """Token by token, as the Thinker generates it, with the end token."""
    tokenizer, config, ids = nano_tokenizer(), model.config, PromptIds.of(model.config)
    ends = text_ends(exported, config)
    for index, text in enumerate(("The dog sleeps.", "Walk slowly to the river.")):
        speakable = SpokenTokenFilter(
            lambda given: tokenizer.decode(given, skip_special_tokens=True), ends, False
        )
        chunks = TextChunker(
            config.talker_config.text_tokens_per_chunk,
            ids.tts_eos,
            config.talker_config.text_config.vocab_size,
            controls=(*ids.controls, config.im_end_token_id),
        )
        drawn_ids = tokenizer.encode(text + "<|im_end|>")
        for token in drawn_ids:
            final = token == drawn_ids[-1]
            said = speakable.release([token], "" if final else tokenizer.decode([token]))
            chunks.add_tokens(said.token_ids, final=final)
        entered = [chunk async for chunk in chunks.chunks()]
        assert tuple(token for chunk in entered for token in chunk.text) == book.lesson(index).text
        await asyncio.sleep(0)


def test_the_talker_s_weights_are_the_stage_s_except_for_borrowed_embeddings(
    stages: Path, model: Model
) -> None:
    trained = weights(stages / "talker.safetensors", "talker")
    spoken = unheard.spoken_tokens(Recordings(stages / "speech"), nano_tokenizer())
    for name, tensor in model.talker.state_dict().items():
        if name != "model.embed_tokens.weight":
            assert tensor.equal(trained[name]), name
    often = [token for token, times in spoken.items() if times >= unheard.LEAST]
    assert not model.talker.hidden_projection.weight.any()
    assert model.talker.model.embed_tokens.weight[often].equal(trained["model.embed_tokens.weight"][often])


@pytest.mark.parametrize("frames", [1, 4])
def test_streamed_audio_is_the_trained_vocoder_s(
    stages: Path, exported: Path, model: Model, frames: int
) -> None:
    trained = Model(model.config).code2wav.eval()
    trained.load_state_dict(weights(stages / "vocoder.safetensors", "vocoder"))
    codes = Recordings(stages / "speech", "held-heart").codes(0)[:24]
    (meant,) = sounds_of(trained, [codes])
    streaming = StreamingCode2Wav(model.config.code2wav_config, slots=2).float().eval()
    streaming.load_weights(read_wanted(exported, ("code2wav.",)))
    slot = torch.tensor([1])
    streaming.reset(slot)

    parts = [streaming(piece[None], slot)[0] for piece in codes.split(frames)]

    sound = torch.cat(parts)[streaming.lookahead_samples :]
    torch.testing.assert_close(sound, meant[: len(sound)], rtol=0, atol=1e-5)
    assert meant[len(sound) :].eq(0).all()
    assert sound.std() > 1e-3
