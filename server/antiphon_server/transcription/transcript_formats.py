"""A complete transcript in OpenAI's formats."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Sequence

from antiphon_server.chat.response.chunks import write_logprobs
from antiphon_server.openai_api.audio.transcription import (
    DurationUsage,
    Segment,
    TokenDetails,
    TokenUsage,
    Transcript,
    VerboseTranscript,
)
from antiphon_server.transcription.piece_run import HeardPiece
from antiphon_server.transcription.transcript_run import RunningTranscript

Tokenize = Callable[[str], Awaitable[tuple[int, ...]]]
JSON, PLAIN, VTT = "application/json", "text/plain", "text/vtt"


def usage_of(pieces: Sequence[HeardPiece]) -> TokenUsage:
    text = sum(one.prompt.total - one.prompt.audio for one in pieces)
    audio = sum(one.prompt.audio for one in pieces)
    output = sum(one.tokens for one in pieces)
    return TokenUsage(
        input_tokens=text + audio,
        input_token_details=TokenDetails(text_tokens=text, audio_tokens=audio),
        output_tokens=output,
        total_tokens=text + audio + output,
    )


async def written(heard: RunningTranscript, text: str, tokenize: Tokenize) -> tuple[str, str]:
    """The body of the answer and its media type. `text`: of all pieces."""
    spoken = [one for one in heard.pieces if one.text]
    match heard.spec.format:
        case "text":
            return f"{text}\n", PLAIN
        case "srt":
            cues = [f"{number}\n{_cue(one, ',')}" for number, one in enumerate(spoken, start=1)]
            return "\n".join(cues), PLAIN
        case "vtt":
            return "WEBVTT\n\n" + "\n".join(_cue(one, ".") for one in spoken), VTT
        case "json":
            logprobs = [one for piece in heard.pieces for one in piece.logprobs]
            shown = write_logprobs(tuple(logprobs)).content if heard.spec.logprobs else None
            answer = Transcript(text=text, logprobs=shown, usage=usage_of(heard.pieces))
            return answer.model_dump_json(exclude_none=True), JSON
        case "verbose_json":
            segments = [await _segment(heard, number, one, tokenize) for number, one in enumerate(spoken)]
            verbose = VerboseTranscript(
                task=heard.spec.task,
                language="english" if heard.spec.task == "translate" else heard.spec.language,
                duration=round(heard.seconds, 3),
                text=text,
                segments=segments,
                usage=DurationUsage(seconds=round(heard.seconds, 3)),
            )
            return verbose.model_dump_json(), JSON


async def _segment(heard: RunningTranscript, number: int, one: HeardPiece, tokenize: Tokenize) -> Segment:
    start, end = one.piece.seconds
    data = one.text.encode()
    logprobs = [token.logprob for token in one.logprobs]
    return Segment(
        id=number,
        seek=int(start * 100),
        start=round(start, 3),
        end=round(end, 3),
        text=one.text,
        tokens=list(await tokenize(one.text)),
        temperature=heard.spec.text.temperature,
        avg_logprob=sum(logprobs) / len(logprobs) if logprobs else 0.0,
        compression_ratio=len(data) / len(zlib.compress(data)),
        no_speech_prob=round(1 - one.piece.voiced, 3),
    )


def _cue(one: HeardPiece, point: str) -> str:
    start, end = one.piece.seconds
    # An empty line would end the cue.
    text = " ".join(one.text.split())
    return f"{_clock(start, point)} --> {_clock(end, point)}\n{text}\n"


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1_000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1_000 % 60:02}{point}{ms % 1_000:03}"
