"""The requests of a run, written before anything is measured.

In: what to ask, and the dialect to ask it in. Out: request bodies. Each is sent as it stands, as often as its
turn comes: encoding media takes milliseconds that belong to nobody's latency.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import pybase64

from antiphon_server.bench.load import attachments as made
from antiphon_server.bench.load import prompts
from antiphon_server.bench.load.attachments import Attachment
from antiphon_server.bench.options import Asking, Dialect, Input


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask: a text, a medium, or both."""

    input: Input
    text: str
    medium: Attachment | None = None


@dataclass(frozen=True, slots=True)
class Request:
    input: Input
    body: bytes


def make_questions(asking: Asking, seed: int) -> list[Question]:
    """`asking.distinct` of them, the kinds of input in turn."""
    dice = random.Random(seed)
    return [
        _make(asking, number, asking.inputs[number % len(asking.inputs)], dice)
        for number in range(max(asking.distinct, len(asking.inputs)))
    ]


def write_request(question: Question, asking: Asking, dialect: Dialect, model: str) -> Request:
    """A streaming chat completion."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": _content(question, dialect)}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if asking.answer == "speech":
        body["modalities"] = ["text", "audio"]
        voice = {"voice": asking.voice} if asking.voice else {}
        # vLLM-Omni takes no such field, and sends WAV.
        if dialect != "vllm-omni" or voice:
            body["audio"] = {**voice, "format": "pcm16" if dialect == "openai" else "wav"}
    else:
        body["modalities"] = ["text"]
    if asking.max_tokens:
        body["max_tokens"] = asking.max_tokens
    body.update(asking.extra)
    return Request(question.input, json.dumps(body).encode())


def about_inputs(asking: Asking) -> str:
    """What is sent, for the report."""
    speech = "recordings of the user's" if asking.recordings else "spoken by espeak-ng"
    if not asking.recordings and not made.can_speak():
        speech = "noise, since espeak-ng is not installed"
    width, height = asking.image_pixels
    said = {
        "text": "text",
        "audio": f"audio ({speech})",
        "image": f"pictures of {width} x {height}",
        "video": f"videos of {asking.video_s:g} s, {width} x {height}, with sound",
    }
    return f"{', '.join(said[kind] for kind in asking.inputs)}; {asking.distinct} different requests in turn"


def _make(asking: Asking, number: int, kind: Input, dice: random.Random) -> Question:
    given = asking.prompts
    text = given[number % len(given)] if given else prompts.question(number)
    match kind:
        case "text":
            return Question("text", text)
        case "audio":
            return _aloud(asking, number, text, dice)
        case "image":
            asked = text if given else prompts.ABOUT_PICTURE
            return Question("image", asked, made.picture(dice, asking.image_pixels))
        case "video":
            asked = text if given else prompts.ABOUT_VIDEO
            return Question("video", asked, made.film(dice, asking.image_pixels, asking.video_s))


def _aloud(asking: Asking, number: int, text: str, dice: random.Random) -> Question:
    if asking.recordings:
        path = asking.recordings[number % len(asking.recordings)]
        return Question("audio", "", made.recording(path))
    if made.can_speak():
        return Question("audio", "", made.spoken(text))
    return Question("audio", prompts.ABOUT_NOISE, made.murmur(dice))


def _content(question: Question, dialect: Dialect) -> str | list[dict[str, Any]]:
    if question.medium is None:
        return question.text
    parts = [_part(question.input, question.medium, dialect)]
    return [*parts, {"type": "text", "text": question.text}] if question.text else parts


def _part(kind: Input, medium: Attachment, dialect: Dialect) -> dict[str, Any]:
    encoded = pybase64.b64encode_as_string(medium.data)
    match kind:
        case "image":
            return {"type": "image_url", "image_url": {"url": f"data:image/{medium.form};base64,{encoded}"}}
        case "video":
            return {"type": "video_url", "video_url": {"url": f"data:video/{medium.form};base64,{encoded}"}}
    data = f"data:;base64,{encoded}" if dialect == "dashscope" else encoded
    return {"type": "input_audio", "input_audio": {"data": data, "format": medium.form}}
