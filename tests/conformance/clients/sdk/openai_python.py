"""The stock `openai` package: chat, speech, transcripts, responses, completions."""

from __future__ import annotations

import base64
from typing import Any

import openai
from harness import (
    ANSWER,
    BASE,
    KEY,
    MESSAGES,
    MODEL,
    PCM,
    QUESTION,
    SENTENCE,
    SENTENCE_WAV,
    TOOL,
    report,
    same_words,
    spoken,
    switched,
)

client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)
chat: Any = client.chat.completions


def models() -> None:
    assert [model.id for model in client.models.list()] == [MODEL]


def chat_stream() -> None:
    chunks = list(
        chat.create(model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    )
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(piece or "" for piece in pieces) == ANSWER
    assert chunks[-1].usage.completion_tokens > 2


def chat_spoken() -> None:
    form = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    read = [{"role": "user", "content": f"Read this aloud: {SENTENCE}"}]
    audio = chat.create(model=MODEL, messages=read, **form).choices[0].message.audio
    same_words(audio.transcript)
    spoken(base64.b64decode(audio.data))


def tool_call() -> None:
    answer = chat.create(model=MODEL, messages=MESSAGES, tools=[TOOL], tool_choice="required")
    switched(answer.choices[0].message.tool_calls[0].function.arguments)


def speech() -> None:
    create: Any = client.audio.speech.with_streaming_response.create
    for form, raw in (("mp3", ()), ("pcm", PCM)):
        with create(model="gpt-4o-mini-tts", voice="alloy", input=SENTENCE, response_format=form) as answer:
            spoken(b"".join(answer.iter_bytes()), *raw)


def transcript() -> None:
    create: Any = client.audio.transcriptions.create
    with SENTENCE_WAV.open("rb") as file:
        same_words(create(model="whisper-1", file=file).text)
    with SENTENCE_WAV.open("rb") as file:
        events = list(create(model="gpt-4o-transcribe", file=file, stream=True))
    same_words("".join(event.delta for event in events if event.type == "transcript.text.delta"))


def responses() -> None:
    answer = client.responses.create(model=MODEL, input=QUESTION)
    assert answer.output_text == ANSWER
    assert answer.usage is not None
    assert answer.usage.output_tokens > 2
    with client.responses.stream(model=MODEL, input=QUESTION) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert "".join(deltas) == stream.get_final_response().output_text == ANSWER


def completions() -> None:
    answer = client.completions.create(model=MODEL, prompt=QUESTION, max_tokens=4)
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert 1 <= answer.usage.completion_tokens <= 4


if __name__ == "__main__":
    cases = [models, chat_stream, chat_spoken, tool_call, speech, transcript, responses, completions]
    report("openai", *cases)
