"""A client of the served model, on the `openai` package: many concurrent questions, with text or spoken
answers.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import openai
from numpy.typing import NDArray

from antiphon_nano.served.request import messages_of
from antiphon_nano.teacher.shard import SAMPLE_RATE_HZ
from antiphon_nano.thinker.dialogue import Dialogue

MOST_TOKENS = 96
AT_ONCE = 4
_PATIENCE_S = 300.0
_Got = TypeVar("_Got")


@dataclass(frozen=True, slots=True, eq=False)
class SpokenAnswer:
    """`text` as it was written; `sound`: float32 at 24 kHz; `finish`: the finish reason."""

    text: str
    sound: NDArray[np.float32]
    finish: str

    @property
    def seconds(self) -> float:
        return len(self.sound) / SAMPLE_RATE_HZ

    @property
    def is_runaway(self) -> bool:
        """Whether the speech was cut off, or is three times as long as its text takes."""
        return self.finish == "length" or self.seconds > 3 + 1.2 * len(self.text.split())


class Examinee:
    """`url`: of the server, without a path."""

    def __init__(self, url: str) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="none", max_retries=5, timeout=_PATIENCE_S
        )
        self._model = ""

    async def written(self, dialogues: Sequence[Dialogue]) -> list[str]:
        """Text answers, greedy, in the order of `dialogues`."""
        return await self._each(dialogues, self._write)

    async def spoken(self, dialogues: Sequence[Dialogue], voice: str | None = None) -> list[SpokenAnswer]:
        """Spoken answers with the checkpoint's sampling, one seed per dialogue. Audio is streamed."""
        return await self._each(dialogues, lambda dialogue, number: self._speak(dialogue, number, voice))

    async def _each(
        self, dialogues: Sequence[Dialogue], ask: Callable[[Dialogue, int], Awaitable[_Got]]
    ) -> list[_Got]:
        self._model = self._model or (await self._client.models.list()).data[0].id
        places = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, dialogue: Dialogue) -> _Got:
            async with places:
                return await ask(dialogue, number)

        return await asyncio.gather(*(one(number, dialogue) for number, dialogue in enumerate(dialogues)))

    async def _write(self, dialogue: Dialogue, number: int) -> str:
        create: Any = self._client.chat.completions.create
        done = await create(
            model=self._model, messages=messages_of(dialogue), temperature=0, max_tokens=MOST_TOKENS
        )
        return str(done.choices[0].message.content)

    async def _speak(self, dialogue: Dialogue, number: int, voice: str | None) -> SpokenAnswer:
        create: Any = self._client.chat.completions.create
        chunks = await create(
            model=self._model,
            messages=messages_of(dialogue),
            modalities=["text", "audio"],
            audio={"format": "pcm16", **({"voice": voice} if voice else {})},
            seed=number,
            temperature=0,
            max_tokens=MOST_TOKENS,
            stream=True,
        )
        text, pcm, finish = "", b"", ""
        async for chunk in chunks:
            for choice in chunk.choices:
                finish = choice.finish_reason or finish
                audio = getattr(choice.delta, "audio", None)
                text += (audio.transcript if audio else choice.delta.content) or ""
                pcm += base64.b64decode((audio.data if audio else None) or "")
        return SpokenAnswer(text, np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768), finish)
