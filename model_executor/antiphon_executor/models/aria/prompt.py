"""The ARIA Talker's prompt as token ids, and the message that opens a stream.

Pure functions on ids; no embeddings.
Reference: `reference.model.Qwen3_5OmniMoeForConditionalGeneration.talker_rows`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.models.aria.vocabulary import AriaKind, AriaVocabulary
from antiphon_executor.models.qwen3_5_omni.talker_prompt import (
    PromptLayout,
    VoicePrompt,
    is_projected,
    kept_tokens,
)
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.sampling import StreamSampling


@dataclass(frozen=True, slots=True, eq=False)
class AriaPrompt:
    """The Talker's prompt for one answer, up to codec_bos; the text follows.

    `media_index` int32: the Thinker prompt's indices of the hidden states that it needs, in order.
    """

    token_ids: list[int]
    media_index: NDArray[np.int32]


class AriaStart(msgspec.Struct, frozen=True):
    """The message that opens a stream: `extra_args[EXTRA_ARG]` of the session's first input, msgpack.

    `voice_codes`: int16 [frames, groups]. `hidden_states`: [num_rows, thinker_hidden] of
    `hidden_states_dtype`. `prompt_tokens`: tokens before the first text token. `unheard_tokens`: tokens that
    are drawn before the first frame. `live`: the client plays while the stream is generated.
    """

    stream: int
    slot: int
    voice_codes: bytes
    hidden_states: bytes
    hidden_states_dtype: str
    prompt_tokens: int
    sampling: StreamSampling
    unheard_tokens: int = 0
    live: bool = False


def aria_prompt(
    thinker_ids: NDArray[np.integer],
    ids: PromptIds,
    vocabulary: AriaVocabulary,
    *,
    slot: int,
    voice: VoicePrompt,
    max_media_rows: int,
    layout: PromptLayout,
) -> AriaPrompt:
    """The Talker's prompt: voice, user segments, the open assistant turn's header, tts_bos, codec_bos.

    `thinker_ids`: [n], media expanded. InvalidRequest if the prompt does not end in an open assistant turn or
    has more text to project than the vocabulary has rows; ValueError for a voice that does not begin with
    `<|im_start|>`, or has more frames than the vocabulary.
    """
    if voice.opening[:1] != (ids.im_start,):
        raise ValueError("a voice's prompt begins with <|im_start|>")
    room = vocabulary.embedding_rows - len(voice.codes)
    if room < 0:
        raise ValueError(
            f"a voice of {len(voice.codes)} frames does not fit {vocabulary.embedding_rows} rows"
        )
    is_row = is_projected(thinker_ids, ids, projects_text=layout.projects_text)
    projected_text = int((is_row & ~ids.is_media(thinker_ids)).sum())
    if projected_text > room:
        raise InvalidRequest(
            f"the conversation has {projected_text} tokens of user text; a spoken answer allows {room}"
        )
    try:
        kept = kept_tokens(thinker_ids, ids, min(max_media_rows, room - projected_text))
    except ValueError:
        raise InvalidRequest("the prompt does not end in an open assistant turn") from None
    tokens = thinker_ids[kept].astype(np.int64)
    projected = is_row[kept]
    embeddings = vocabulary.embedding_base + np.arange(len(voice.codes) + int(projected.sum()))
    rows = vocabulary.text_base + tokens
    rows[projected] = embeddings[len(voice.codes) :]
    before, after = layout.frame_marks(voice)
    return AriaPrompt(
        token_ids=[
            vocabulary.encode(AriaKind.SLOT, slot),
            *(vocabulary.encode(AriaKind.TEXT, token) for token in voice.opening[1:]),
            *(vocabulary.encode(AriaKind.CODEC, code) for code in before),
            *embeddings[: len(voice.codes)].tolist(),
            *(vocabulary.encode(AriaKind.CODEC, code) for code in after),
            *(vocabulary.encode(AriaKind.TEXT, token) for token in voice.closing),
            *rows.tolist(),
            *(vocabulary.encode(AriaKind.CODEC, code) for code in layout.before_text(voice)),
            vocabulary.encode(AriaKind.TEXT, ids.tts_bos),
            vocabulary.encode(AriaKind.CODEC, layout.codec_bos),
        ],
        media_index=kept[projected].astype(np.int32),
    )
