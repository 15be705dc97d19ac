"""The dual track gives the Talker the same inputs as transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from antiphon_executor.models.qwen3_omni.talker_prompt import TalkerPrompt
from antiphon_executor.models.qwen3_omni.vocabulary import RowKind, SharedRow
from antiphon_executor.turn.spoken_tokens import SpokenTokenFilter
from tests.talker import tiny_omni as tiny
from tests.talker.conversation import (
    VOCABULARY,
    Conversation,
    audio,
    image,
    model,
    prompt_of,
    sounding,
    video,
    words,
)


@dataclass
class Heard:
    """What the whole model's `generate` did with its Talker."""

    given: dict[str, Any] = field(default_factory=dict)
    positions: list[np.ndarray] = field(default_factory=list)
    media_rows: list[torch.Tensor] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Heard]:
    heard, talker = Heard(), model().talker
    original = talker.generate

    def note_what_is_given(**given: Any) -> Any:
        heard.given = given
        return original(**given)

    def note_positions(_: object, __: object, given: dict[str, Any]) -> None:
        heard.positions.append(given["position_ids"][1:, 0].long().numpy())

    def note_media_rows(_: object, __: object, rows: torch.Tensor) -> None:
        heard.media_rows.append(rows)

    hooks = [
        talker.register_forward_pre_hook(note_positions, with_kwargs=True),
        talker.hidden_projection.register_forward_hook(note_media_rows),
    ]
    talker.generate = note_what_is_given
    try:
        yield heard
    finally:
        del talker.generate
        for hook in hooks:
            hook.remove()


def features(c: Conversation) -> dict[str, torch.Tensor]:
    """Random pixels and spectrograms of the conversation's sizes."""
    torch.manual_seed(3)
    media = c.media()
    lengths = media.pop("audio_feature_lengths", None)
    if lengths is not None:
        media["feature_attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
        media["input_features"] = torch.randn(len(lengths), 128, int(lengths.max()))
    for name, grids in (("pixel_values", c.image_grids), ("pixel_values_videos", c.video_grids)):
        if grids:
            media[name] = torch.randn(int(np.prod(grids, axis=1).sum()), 3 * 2 * 16 * 16)
    return media


def generate(c: Conversation, eos: int) -> Heard:
    """Runs transformers end to end, six text tokens at most, and notes what reaches the Talker."""
    ids = torch.tensor([c.asked()])
    with listening() as heard:
        sequences, _ = model().generate(
            ids,
            attention_mask=torch.ones_like(ids),
            use_audio_in_video=c.sound_in_video,
            thinker_max_new_tokens=6,
            thinker_do_sample=False,
            thinker_eos_token_id=eos,
            talker_max_new_tokens=4,
            talker_do_sample=False,
            **features(c),
        )
    heard.answer = sequences[0, ids.shape[1] :].tolist()
    return heard


def embedded(prompt: TalkerPrompt, first_text: int, media_rows: torch.Tensor) -> torch.Tensor:
    """Each prompt row by what its token id says."""
    whole = model()
    config = whole.config.talker_config
    text = whole.talker.text_projection(whole.thinker.get_input_embeddings().weight)
    codec = whole.talker.get_input_embeddings().weight
    shared = {
        SharedRow.NOTHINK: text[tiny.TTS_PAD] + codec[config.codec_nothink_id],
        SharedRow.THINK_BOS: text[tiny.TTS_PAD] + codec[config.codec_think_bos_id],
        SharedRow.THINK_EOS: text[tiny.TTS_PAD] + codec[config.codec_think_eos_id],
        SharedRow.TTS_BOS: text[tiny.TTS_BOS] + codec[config.codec_pad_id],
    }
    speakers = list(tiny.SPEAKERS.values())
    by_kind: dict[RowKind, Callable[[int], torch.Tensor]] = {
        RowKind.SLOT: lambda _: text[tiny.IM_START],
        RowKind.TEXT: lambda i: text[i],
        RowKind.MEDIA: lambda i: media_rows[i],
        RowKind.SHARED: lambda i: shared[SharedRow(i)],
        RowKind.SPEAKER: lambda i: text[tiny.TTS_PAD] + codec[speakers[i]],
        RowKind.FIRST_TEXT: lambda _: text[first_text] + codec[config.codec_bos_id],
    }
    rows = [VOCABULARY.decode(token) for token in prompt.token_ids]
    return torch.stack([by_kind[row.kind](row.index) for row in rows])


TURNS = {
    "text": Conversation().turn(tiny.SYSTEM, words(4)).turn(tiny.USER, words(5)),
    "several media": Conversation()
    .turn(tiny.USER, words(2), audio(130), image(2, 3))
    .turn(tiny.ASSISTANT, words(3))
    .turn(tiny.USER, video(2, 2, 2, 2.0), words(1)),
    "a video with sound": Conversation().turn(tiny.USER, sounding(2, 2, 2, 1.0, 100), words(2)),
}


@pytest.mark.parametrize("name", TURNS)
@torch.no_grad()
def test_generate_of_transformers_gives_its_talker_the_same_prompt(name: str) -> None:
    c = TURNS[name]
    heard = generate(c, eos=tiny.IM_END)
    prompt = prompt_of(c, speaker=0)
    media_rows = torch.cat(heard.media_rows) if heard.media_rows else torch.empty(0, 32)
    assert len(media_rows) == len(prompt.media_index)
    rows = embedded(prompt, heard.answer[0], media_rows)
    torch.testing.assert_close(rows, heard.given["inputs_embeds"][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(heard.positions[0], prompt.positions)
    assert len(heard.positions) == 4
    for i, decoding in enumerate(heard.positions[1:]):
        assert decoding.tolist() == [[len(prompt.token_ids) + i + prompt.position_delta]] * 3


@pytest.mark.parametrize("finish", ["length", "stop"])
@torch.no_grad()
def test_generate_of_transformers_gives_its_talker_the_same_text(finish: str) -> None:
    c = TURNS["text"]
    written = generate(c, eos=tiny.IM_END).answer
    assert tiny.IM_END not in written
    assert written[3] not in written[:3]
    heard = generate(c, eos=tiny.IM_END if finish == "length" else written[3])
    assert heard.answer == (written if finish == "length" else written[:4])
    ends = frozenset({tiny.IM_END if finish == "length" else written[3]})
    track = [
        *SpokenTokenFilter(lambda _: "", ends, has_stop=False).release(heard.answer, "").token_ids,
        tiny.TTS_EOS,
    ]
    if finish == "length":
        # transformers has no embedding of the last token it drew, and leaves it unspoken; ours speaks it.
        del track[-2]
    text = model().talker.text_projection(model().thinker.get_input_embeddings().weight)
    expected = torch.stack([text[row] for row in track[1:]])
    torch.testing.assert_close(heard.given["trailing_text_hidden"][0], expected, rtol=1e-5, atol=1e-6)
