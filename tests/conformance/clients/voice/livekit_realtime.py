"""LiveKit's realtime model with its defaults (semantic_vad): a spoken turn, a tool, an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from harness import BASE, COUNTING, KEY, MODEL, QUESTION, SWITCH, microphone, report, switched
from livekit import rtc
from livekit.agents import function_tool, llm
from livekit.plugins.openai import realtime

FRAME_S = 0.02
RAW = {"name": "switch", "description": "Switch the lamp.", "parameters": SWITCH}


# With its own schema: LiveKit's would leave the object open.
@function_tool(raw_schema=RAW)
async def switch(raw_arguments: dict[str, Any]) -> str:
    return "done"


@dataclass
class Reply:
    """One generation. `starts_s`: of the words that carry their times."""

    text: str = ""
    seconds: float = 0.0
    calls: list[llm.FunctionCall] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)
    message_id: str = ""
    sounds: asyncio.Event = field(default_factory=asyncio.Event)


class Talk:
    """A session, and what it told of."""

    def __init__(self, session: realtime.realtime_model.RealtimeSession) -> None:
        self.session = session
        self.generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        self.told: list[str] = []
        self.errors: list[Any] = []
        self.transcripts: list[str] = []
        session.on("generation_created", self.generations.put_nowait)
        session.on("error", self.errors.append)
        session.on("input_speech_started", lambda _: self.told.append("started"))
        session.on("input_speech_stopped", lambda _: self.told.append("stopped"))
        session.on("input_audio_transcription_completed", self._on_transcript)

    def _on_transcript(self, event: llm.InputTranscriptionCompleted) -> None:
        if event.is_final:
            self.transcripts.append(event.transcript)

    async def speak(self) -> None:
        for pcm in microphone(FRAME_S):
            self.session.push_audio(rtc.AudioFrame(pcm, 24_000, 1, len(pcm) // 2))
            await asyncio.sleep(FRAME_S)

    async def reply(self, into: Reply) -> Reply:
        """Of the next generation, to its end."""
        async with asyncio.timeout(40):
            created = await self.generations.get()
            async for message in created.message_stream:
                into.message_id = message.message_id
                await asyncio.gather(self._read(message, into), self._hear(message, into))
            async for call in created.function_stream:
                into.calls.append(call)
        return into

    async def _read(self, message: llm.MessageGeneration, into: Reply) -> None:
        async for piece in message.text_stream:
            into.text += piece
            into.starts_s += (
                [piece.start_time] if isinstance(getattr(piece, "start_time", None), float) else []
            )

    async def _hear(self, message: llm.MessageGeneration, into: Reply) -> None:
        async for frame in message.audio_stream:
            into.seconds += frame.duration
            into.sounds.set()


@asynccontextmanager
async def talking() -> AsyncIterator[Talk]:
    async with aiohttp.ClientSession() as http:
        model = realtime.RealtimeModel(model=MODEL, base_url=BASE, api_key=KEY, http_session=http)
        talk = Talk(model.session())
        try:
            yield talk
        finally:
            await talk.session.aclose()
            await model.aclose()
    assert not talk.errors, talk.errors


async def ask(talk: Talk, text: str) -> None:
    context = talk.session.chat_ctx.copy()
    context.add_message(role="user", content=text)
    await talk.session.update_chat_ctx(context)


async def spoken_turn() -> None:
    async with talking() as talk:
        _, reply = await asyncio.gather(talk.speak(), talk.reply(Reply()))
        assert "twelve" in reply.text.lower(), reply
        assert reply.seconds > 0.5
        assert reply.starts_s == sorted(reply.starts_s)
        assert reply.starts_s
        assert talk.told == ["started", "stopped"]
        for _ in range(100):
            if talk.transcripts:
                break
            await asyncio.sleep(0.1)
        assert [one.strip() for one in talk.transcripts] == [QUESTION]


async def tool_call() -> None:
    """The tool is forced; its output is answered in speech."""
    async with talking() as talk:
        await talk.session.update_tools([switch])
        await ask(talk, "Switch the lamp on.")
        asked = talk.session.generate_reply(tool_choice="required")
        reply = await talk.reply(Reply())
        assert (await asked).user_initiated
        switched(reply.calls[0].arguments)
        context = talk.session.chat_ctx.copy()
        output = {"call_id": reply.calls[0].call_id, "name": "switch", "output": "done", "is_error": False}
        context.items.append(llm.FunctionCallOutput(**output))
        await talk.session.update_chat_ctx(context)
        talk.session.generate_reply(tool_choice="none")
        assert (await talk.reply(Reply())).seconds > 0.3


async def interruption() -> None:
    """The user asks something else while the answer is spoken, and truncates it."""
    async with talking() as talk:
        await ask(talk, COUNTING)
        talk.session.generate_reply()
        counted = Reply()
        counting = asyncio.create_task(talk.reply(counted))
        await asyncio.wait_for(counted.sounds.wait(), 30)
        speaking = asyncio.create_task(talk.speak())
        await counting
        assert "twenty" not in counted.text.lower()
        heard_ms = round(counted.seconds * 500)
        talk.session.truncate(message_id=counted.message_id, modalities=["audio"], audio_end_ms=heard_ms)
        reply = await talk.reply(Reply())
        await speaking
        assert "twelve" in reply.text.lower(), reply


if __name__ == "__main__":
    report("livekit-plugins-openai", spoken_turn, tool_call, interruption)
