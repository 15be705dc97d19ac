"""The checked form of a text to read aloud: its tokens, the voice, and the format of the answer."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, replace

from antiphon_executor.interface.card import ModelCard
from antiphon_executor.interface.request import ReadingRequest, SpeechSampling
from antiphon_executor.interface.spoken_length import spoken_frames
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.chat.prompt.conversation import Conversation
from antiphon_server.chat.service import Service
from antiphon_server.chat.voices import choose_voice
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.audio.speech import SpeechRequest
from antiphon_server.openai_api.options import AudioFormat
from antiphon_server.speech.text_pieces import cut_text

_SAMPLING = ("temperature", "top_k", "top_p", "seed")
# A slow voice takes this many times the frames of an ordinary one.
_SLOWEST = 1.5


@dataclass(frozen=True, slots=True)
class SpeechForm:
    """The format of an answer. `header`: whether the audio is a WAV file. `events`: as server-sent events.

    `speed`: of what is sent, relative to what is generated.
    """

    audio_format: AudioFormat
    rate_hz: int
    media_type: str
    header: bool
    events: bool
    times_words: bool
    speed: float


@dataclass(frozen=True, slots=True)
class ReadingSpec:
    """A checked request. `text`: all of it; `ends`: for each of its tokens, the character where it ends.

    `owner`: a hash of the client's key.
    """

    form: SpeechForm
    request: ReadingRequest
    text: str
    ends: tuple[int, ...]
    size: RequestSize
    owner: str


async def build_reading_spec(asked: SpeechRequest, service: Service, owner: str) -> ReadingSpec:
    """Raises BadRequest."""
    card = service.engine.card
    if not card.speaks:
        raise BadRequest("This model answers in text only.", param="model", code="unsupported_by_model")
    speech = _read_sampling(asked, card)
    form = _read_form(asked)
    pieces = cut_text(asked.input, service.settings.chat.spoken_piece_chars or card.spoken_chars)
    if not pieces:
        raise BadRequest("The input has no text.", param="input")
    encoded = await service.prompts.encode_text([piece.text for piece in pieces], "input", owner)
    tokens = tuple(one.ids for one in encoded)
    if asked.max_new_tokens is None:
        speech = replace(speech, max_frames=len(pieces) * speech.max_frames)
    prompts = tuple([await service.prompts.render(_asked_to_read(piece.text), owner) for piece in pieces])
    longest = max(spoken_frames(piece.text) for piece in pieces)
    return ReadingSpec(
        form=form,
        request=ReadingRequest(f"speech-{secrets.token_hex(16)}", prompts, tokens, speech, live=True),
        text=asked.input,
        ends=tuple(piece.start + end for piece, one in zip(pieces, encoded, strict=True) for end in one.ends),
        size=RequestSize(
            # One piece at a time is spoken.
            prompt_tokens=max(
                len(prompt) + len(piece) for prompt, piece in zip(prompts, tokens, strict=True)
            ),
            max_tokens=0,
            max_frames=min(math.ceil(longest * _SLOWEST) + 1, speech.max_frames),
        ),
        owner=owner,
    )


def _asked_to_read(text: str) -> Conversation:
    """What a chat is asked that answers with this text: the Talker then gets the same tokens as from a chat.

    antiphon-nano's says more words right than after a question without them.
    """
    return Conversation(({"role": "user", "content": f"Read aloud: {text}"},), (), ())


def _read_sampling(asked: SpeechRequest, card: ModelCard) -> SpeechSampling:
    voice = choose_voice(asked.voice, card, "voice")
    given = {name: getattr(asked, name) for name in _SAMPLING} | {"max_frames": asked.max_new_tokens}
    normal = card.speech or SpeechSampling(voice)
    return replace(normal, voice=voice, **{name: value for name, value in given.items() if value is not None})


_MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


def _read_form(asked: SpeechRequest) -> SpeechForm:
    events = asked.stream_format == "sse"
    if asked.timestamp_granularities and not events:
        raise BadRequest(
            "Word timestamps are a part of the events of an answer.",
            param="timestamp_granularities",
            hint='Send stream_format: "sse".',
        )
    form = asked.response_format
    return SpeechForm(
        audio_format="pcm16" if form == "pcm" or form == "wav" else form,  # noqa: PLR1714 - mypy narrows it
        rate_hz=asked.sample_rate,
        media_type="text/event-stream" if events else _MEDIA_TYPES[form],
        header=form == "wav",
        events=events,
        times_words=bool(asked.timestamp_granularities),
        speed=asked.speed,
    )
