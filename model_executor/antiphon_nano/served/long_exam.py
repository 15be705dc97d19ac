"""How far the served model's attention reaches: a name that is said among other sentences, and asked for.

`python -m antiphon_nano.served.long_exam CHECKPOINT LOG` prints the share of right answers by the
length of the input. Spoken: a recording with the name in its middle. Typed: with other turns in between.
"""

from __future__ import annotations

import base64
import io
import random
import sys
import wave
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from antiphon_nano.domain import answers, corpus, words
from antiphon_nano.served.running_server import running_server
from antiphon_nano.thinker.asking.typed_dialogues import asked, typed

RECORDINGS_S = (0, 10, 20, 40, 60, 120, 300)
TURNS = (0, 1, 2, 4, 8, 16, 32, 64)
TRIES = 40
_AT_ONCE = 4
_RATE_HZ = 24_000
_SENTENCES = 40
_NAMES = words.NAMES[2:]
_QUESTION = "What is my name?"
_LONGEST_S = 300.0

Message = dict[str, Any]
Make = Callable[[str, random.Random], list[Message]]


class Examinee:
    """A served model."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/v1", timeout=_LONGEST_S)
        self._model = self._http.get("/models").json()["data"][0]["id"]

    def say(self, text: str) -> bytes:
        """s16le at 24 kHz."""
        fields = {"model": self._model, "voice": "heart", "input": text, "response_format": "pcm"}
        answer = self._http.post("/audio/speech", json=fields)
        answer.raise_for_status()
        return answer.content

    def answer(self, messages: Sequence[Message]) -> tuple[str, int]:
        """Its text, and the tokens of the prompt."""
        body = {"model": self._model, "messages": list(messages), "temperature": 0, "max_tokens": 48}
        answer = self._http.post("/chat/completions", json=body)
        answer.raise_for_status()
        found = answer.json()
        return str(found["choices"][0]["message"]["content"]), int(found["usage"]["prompt_tokens"])


def spoken(
    name: str, rng: random.Random, named: Mapping[str, bytes], others: Sequence[bytes], seconds: float
) -> list[Message]:
    """A recording of at least `seconds`, the name in its middle."""
    around: list[bytes] = []
    while sum(map(len, around)) < seconds * _RATE_HZ * 2:
        around.append(rng.choice(others))
    middle = len(around) // 2
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes(b"".join([*around[:middle], named[name], *around[middle:]]))
    data = base64.b64encode(sound.getvalue()).decode()
    heard = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return [{"role": "user", "content": [heard, {"type": "text", "text": _QUESTION}]}]


def written(name: str, rng: random.Random, turns: int) -> list[Message]:
    """A name, `turns` other questions with their answers, and the question for the name."""
    messages = [
        {"role": "user", "content": f"My name is {name}."},
        {"role": "assistant", "content": answers.say(answers.REMEMBERED[1], name=name)},
    ]
    for _ in range(turns):
        other = asked(rng)
        messages.append({"role": "user", "content": typed(other, rng)})
        messages.append({"role": "assistant", "content": other.answer})
    return [*messages, {"role": "user", "content": _QUESTION}]


def row(examinee: Examinee, what: str, make: Make) -> str:
    """`make`: the messages of one name."""

    def ask(number: int) -> tuple[bool, int]:
        name = _NAMES[number % len(_NAMES)]
        text, tokens = examinee.answer(make(name, random.Random(f"{what} {number}")))
        return name in text, tokens

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(ask, range(TRIES)))
    right, tokens = sum(is_right for is_right, _ in found), sum(count for _, count in found) // TRIES
    return f"| {what} | {tokens:,} | {right / TRIES:.0%} |"


def main() -> None:
    with running_server(Path(sys.argv[1]), Path(sys.argv[2])) as url:
        examinee = Examinee(url)
        print("| input | tokens of the prompt | right |\n|---|---|---|")
        for turns in TURNS:
            make: Make = partial(written, turns=turns)
            print(row(examinee, f"typed, {turns} turns between", make), flush=True)
        rng = random.Random("long exam")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            sentences = [corpus.free_sentence(rng) for _ in range(_SENTENCES)]
            others = list(pool.map(examinee.say, sentences))
            sounds = pool.map(examinee.say, [f"My name is {name}." for name in _NAMES])
            named = dict(zip(_NAMES, sounds, strict=True))
        for seconds in RECORDINGS_S:
            make = partial(spoken, named=named, others=others, seconds=seconds)
            print(row(examinee, f"spoken, among {seconds} s of other speech", make), flush=True)


if __name__ == "__main__":
    main()
