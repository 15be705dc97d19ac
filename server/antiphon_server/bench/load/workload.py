"""The request bodies of a run, built before anything is measured.

Encoding media takes milliseconds that must not count as latency, so each body is sent as it was built.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import pybase64

from antiphon_server.bench.load import attachments, prompts
from antiphon_server.bench.load.attachments import Attachment
from antiphon_server.bench.options import Dialect, Input, Workload


@dataclass(frozen=True, slots=True)
class Question:
    """The content of one request: a text, an attachment, or both."""

    input: Input
    text: str
    attachment: Attachment | None = None


@dataclass(frozen=True, slots=True)
class Request:
    input: Input
    body: bytes


def make_questions(workload: Workload, seed: int) -> list[Question]:
    """`workload.distinct` questions that cycle through the kinds of input."""
    rng = random.Random(seed)
    return [
        _make_question(workload, number, workload.inputs[number % len(workload.inputs)], rng)
        for number in range(max(workload.distinct, len(workload.inputs)))
    ]


def build_request(question: Question, workload: Workload, dialect: Dialect, model: str) -> Request:
    """A streaming chat completion request."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": _content(question, dialect)}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if workload.answer == "speech":
        body["modalities"] = ["text", "audio"]
        voice = {"voice": workload.voice} if workload.voice else {}
        # vLLM-Omni does not accept this field without a voice, and always sends WAV.
        if dialect != "vllm-omni" or voice:
            body["audio"] = {**voice, "format": "pcm16" if dialect == "openai" else "wav"}
    else:
        body["modalities"] = ["text"]
    if workload.max_tokens:
        body["max_tokens"] = workload.max_tokens
    body.update(workload.extra)
    return Request(question.input, json.dumps(body).encode())


def describe_inputs(workload: Workload) -> str:
    """The inputs in words, for the report."""
    speech = "the user's recordings" if workload.recordings else "spoken by espeak-ng"
    if not workload.recordings and not attachments.has_espeak():
        speech = "noise, since espeak-ng is not installed"
    width, height = workload.image_pixels
    descriptions = {
        "text": "text",
        "audio": f"audio ({speech})",
        "image": f"images of {width} x {height}",
        "video": f"videos of {workload.video_s:g} s, {width} x {height}, with audio",
    }
    inputs = ", ".join(descriptions[kind] for kind in workload.inputs)
    return f"{inputs}; {workload.distinct} different requests in turn"


def _make_question(workload: Workload, number: int, kind: Input, rng: random.Random) -> Question:
    given = workload.prompts
    text = given[number % len(given)] if given else prompts.question(number)
    match kind:
        case "text":
            return Question("text", text)
        case "audio":
            return _audio_question(workload, number, text, rng)
        case "image":
            about = text if given else prompts.IMAGE_QUESTION
            return Question("image", about, attachments.random_image(rng, workload.image_pixels))
        case "video":
            about = text if given else prompts.VIDEO_QUESTION
            video = attachments.synthetic_video(rng, workload.image_pixels, workload.video_s)
            return Question("video", about, video)


def _audio_question(workload: Workload, number: int, text: str, rng: random.Random) -> Question:
    if workload.recordings:
        path = workload.recordings[number % len(workload.recordings)]
        return Question("audio", "", attachments.load_recording(path))
    if attachments.has_espeak():
        return Question("audio", "", attachments.synthesize_speech(text))
    return Question("audio", prompts.NOISE_QUESTION, attachments.speech_like_noise(rng))


def _content(question: Question, dialect: Dialect) -> str | list[dict[str, Any]]:
    if question.attachment is None:
        return question.text
    parts = [_media_part(question.input, question.attachment, dialect)]
    return [*parts, {"type": "text", "text": question.text}] if question.text else parts


def _media_part(kind: Input, attachment: Attachment, dialect: Dialect) -> dict[str, Any]:
    encoded, suffix = pybase64.b64encode_as_string(attachment.data), attachment.suffix
    match kind:
        case "image":
            return {"type": "image_url", "image_url": {"url": f"data:image/{suffix};base64,{encoded}"}}
        case "video":
            return {"type": "video_url", "video_url": {"url": f"data:video/{suffix};base64,{encoded}"}}
    data = f"data:;base64,{encoded}" if dialect == "dashscope" else encoded
    return {"type": "input_audio", "input_audio": {"data": data, "format": suffix}}
