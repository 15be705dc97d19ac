"""LiveKit's OpenAI plugin: LLM, responses LLM, TTS and STT with their default models."""

from __future__ import annotations

import wave
from typing import Any

from harness import (
    ANSWER,
    BASE,
    KEY,
    MODEL,
    PCM,
    QUESTION,
    SENTENCE,
    SENTENCE_WAV,
    report,
    same_words,
    spoken,
    switched,
)
from livekit import rtc
from livekit.agents import function_tool, llm
from livekit.plugins import openai

HERE: dict[str, Any] = {"base_url": BASE, "api_key": KEY}


def asked() -> llm.ChatContext:
    context = llm.ChatContext.empty()
    context.add_message(role="user", content=QUESTION)
    return context


@function_tool
async def switch(on: bool) -> str:
    """Switch the lamp."""
    return "done"


async def streamed(model: Any) -> None:
    pieces, usage = [], None
    async with model.chat(chat_ctx=asked()) as stream:
        async for chunk in stream:
            if chunk.delta and chunk.delta.content:
                pieces.append(chunk.delta.content)
            usage = chunk.usage or usage
    assert "".join(pieces) == ANSWER
    assert usage is not None
    assert usage.completion_tokens > 2


async def llm_stream() -> None:
    await streamed(openai.LLM(model=MODEL, **HERE))


async def responses_llm_stream() -> None:
    """Over HTTP and without stored answers: the server has neither its WebSocket nor a store."""
    await streamed(openai.responses.LLM(model=MODEL, use_websocket=False, store=False, **HERE))


async def llm_tool_call() -> None:
    model = openai.LLM(model=MODEL, tool_choice="required", **HERE)
    calls = []
    async with model.chat(chat_ctx=asked(), tools=[switch], tool_choice="required") as stream:
        async for chunk in stream:
            calls += chunk.delta.tool_calls if chunk.delta else []
    switched(calls[0].arguments)


async def said_by(tts: openai.TTS) -> bytes:
    async with tts.synthesize(SENTENCE) as stream:
        frames = [audio.frame async for audio in stream]
    assert {frame.sample_rate for frame in frames} == {24_000}
    return b"".join(bytes(frame.data) for frame in frames)


async def tts() -> None:
    """The default model asks for events; tts-1 for plain audio."""
    spoken(await said_by(openai.TTS(**HERE)), *PCM)
    spoken(await said_by(openai.TTS(model="tts-1", voice="alloy", response_format="pcm", **HERE)), *PCM)


async def stt() -> None:
    with wave.open(str(SENTENCE_WAV)) as file:
        count = file.getnframes()
        frame = rtc.AudioFrame(file.readframes(count), file.getframerate(), 1, count)
    event = await openai.STT(**HERE).recognize(frame)
    same_words(event.alternatives[0].text)


if __name__ == "__main__":
    report("livekit-plugins-openai", llm_stream, responses_llm_stream, llm_tool_call, tts, stt)
