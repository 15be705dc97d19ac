"""Spoken answers that the user interrupts at random moments: what still sounds, what is kept, what was heard.

The judge is pocketsphinx, which chooses the number of words that the sound played so far contains.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from antiphon_nano.domain import answers, corpus
from antiphon_nano.thinker.asking import copying
from tests.chaos.realtime.caller import Caller, Event, calling, pcm_of, silence, speech
from tests.chaos.verdict import Verdict
from tests.e2e.ear import Ear
from tests.e2e.server_process import RunningServer

BYTES_PER_S = 48_000
STEP_S = 0.08
AHEAD_WORDS = 1
SHARE = 0.95
# Words around the kept ones of which the judge chooses.
AROUND = 4
LEAST_WORDS = 8
TEXTS = 1_600
CALLERS = 3
# Of each caller, on one connection.
ANSWERS = 4


@dataclass(frozen=True)
class BargeIn:
    """One interrupted answer.

    `after_s`: of its sound, when the user spoke. `noticed_s`: from there to `speech_started`.
    `sound_after_s`: sound that was sent after it. `stopped_s`: from it to `response.done`. `heard_s`: what
    the player had played. `kept`, `by_cursor`: words kept by the client's report and, before it, by the
    server's bound. `heard`: by the judge, None if it does not know one of the words.
    """

    number: int
    after_s: float
    noticed_s: float
    sound_after_s: float
    stopped_s: float
    heard_s: float
    words: int
    kept: int
    by_cursor: int
    heard: int | None
    status: str

    @property
    def is_cut(self) -> bool:
        """Others had been spoken before the user was heard."""
        return self.status == "turn_detected"


def verdicts(found: Sequence[BargeIn], wanted: int) -> list[Verdict]:
    cut = [one for one in found if one.is_cut]
    late = [one.sound_after_s for one in cut if one.sound_after_s > STEP_S]
    slow = [one.stopped_s for one in cut if one.stopped_s > STEP_S]
    judged = [one for one in cut if one.heard is not None]
    ahead = [one.kept - (one.heard or 0) for one in judged]
    by_cursor = [one.by_cursor - (one.heard or 0) for one in judged]
    good = sum(words <= AHEAD_WORDS for words in ahead)
    return [
        Verdict(
            "answers are interrupted", len(cut) >= wanted, f"{len(cut)} of {len(found)}, {wanted} wanted"
        ),
        Verdict(
            "sound stops within one step",
            not late and not slow,
            f"sound sent after speech_started: {_most([one.sound_after_s for one in cut])} at most; "
            f"response.done: {_most([one.stopped_s for one in cut])} later at most; noticed within "
            f"{_most([one.noticed_s for one in cut])}",
        ),
        Verdict(
            f"at most {AHEAD_WORDS} word more is kept than was heard, in {SHARE:.0%}",
            good >= SHARE * len(judged) > 0,
            f"{good} of {len(judged)}; words ahead {_spread(ahead)}; without the client's report "
            f"{sum(words <= AHEAD_WORDS for words in by_cursor)}, {_spread(by_cursor)}",
        ),
    ]


def _most(seconds: Sequence[float]) -> str:
    return f"{max(seconds, default=0.0) * 1e3:.1f} ms"


def _spread(ahead: Sequence[int]) -> str:
    counts = {words: list(ahead).count(words) for words in sorted(set(ahead))}
    return ", ".join(f"{words:+d}: {count}" for words, count in counts.items())


def interrupt(server: RunningServer, ear: Ear, count: int, save: Path, within_s: float) -> list[BargeIn]:
    """Until `count` answers were cut or the time is up. Continues what `save` has, one JSON object a line."""
    lines = save.read_text().splitlines() if save.exists() else []
    done = [BargeIn(**json.loads(line)) for line in lines]
    texts = [text for text in corpus.held_out(TEXTS) if len(corpus_words(text)) >= LEAST_WORDS]
    until = time.monotonic() + within_s

    with save.open("a") as file, ThreadPoolExecutor(CALLERS) as pool:
        while sum(one.is_cut for one in done) < count and time.monotonic() < until:
            first = len(done)
            numbers = [range(first + at, first + CALLERS * ANSWERS, CALLERS) for at in range(CALLERS)]
            heard = [
                sound
                for sounds in pool.map(lambda own: _talk(server, own, texts), numbers)
                for sound in sounds
            ]
            # Judged afterwards: the judge would delay the other callers.
            for one, sound in sorted(heard, key=lambda pair: pair[0].number):
                done.append(replace(one, heard=heard_words(ear, sound.pcm, sound.words, one.kept)))
                file.write(json.dumps(asdict(done[-1])) + "\n")
            file.flush()
    return done


@dataclass(frozen=True)
class Sound:
    """What the player had played, and the words that were sent with it."""

    pcm: bytes
    words: Sequence[str]


def _talk(server: RunningServer, numbers: Sequence[int], texts: Sequence[str]) -> list[tuple[BargeIn, Sound]]:
    with calling(server.url) as caller:
        return [_one(caller, number, texts[number % len(texts)]) for number in numbers]


def _one(caller: Caller, number: int, text: str) -> tuple[BargeIn, Sound]:
    dice = random.Random(f"barge-in {number}")
    after_s = dice.uniform(0.1, LEAST_WORDS * 0.3)
    caller.write(answers.written(copying.READ[0]).format(text))
    caller.send("response.create")
    events = caller.until(lambda event: event["type"] in ("response.output_audio.delta", "response.done"))
    first_s = time.monotonic()
    events += _read_for(caller, first_s + after_s)
    spoken_s = time.monotonic()
    caller.say(np.concatenate((speech("Please stop now."), silence(0.1))))
    events += caller.until(lambda event: event["type"] == "input_audio_buffer.speech_started")
    heard_s, noticed_s = time.monotonic() - first_s, time.monotonic() - spoken_s
    before = len(events)
    if not any(event["type"] == "response.done" for event in events):
        events += caller.until("response.done")
    stopped_s = time.monotonic() - first_s - heard_s
    caller.send("input_audio_buffer.clear")
    caller.until("input_audio_buffer.cleared")
    return _shown(caller, number, events, before, Times(after_s, noticed_s, heard_s, stopped_s))


@dataclass(frozen=True)
class Times:
    """When the user spoke and when the player stopped, by its clock; how long the server took to notice, and
    then to end the response.
    """

    after_s: float
    noticed_s: float
    heard_s: float
    stopped_s: float


def _shown(
    caller: Caller, number: int, events: Sequence[Event], before: int, times: Times
) -> tuple[BargeIn, Sound]:
    pcm = b"".join(map(pcm_of, events))
    heard_s = min(times.heard_s, len(pcm) / BYTES_PER_S)
    done = next(event["response"] for event in events if event["type"] == "response.done")
    shown = next(event["item"] for event in reversed(events) if event["type"] == "response.output_item.done")
    by_cursor = _kept(caller, shown["id"])
    place = {"item_id": shown["id"], "content_index": 0, "audio_end_ms": int(heard_s * 1e3)}
    caller.send("conversation.item.truncate", **place)
    caller.until("conversation.item.truncated")
    kept = _kept(caller, shown["id"])
    kind = "response.output_audio_transcript.delta"
    written = corpus_words("".join(event["delta"] for event in events if event["type"] == kind))
    played = pcm[: int(heard_s * BYTES_PER_S) // 2 * 2]
    one = BargeIn(
        number=number,
        after_s=times.after_s,
        noticed_s=times.noticed_s,
        sound_after_s=sum(len(pcm_of(event)) for event in events[before:]) / BYTES_PER_S,
        stopped_s=times.stopped_s,
        heard_s=heard_s,
        words=len(written),
        kept=len(kept),
        by_cursor=len(by_cursor),
        heard=None,
        status=str((done["status_details"] or {}).get("reason", done["status"])),
    )
    return one, Sound(played, written)


def heard_words(ear: Ear, pcm: bytes, words: Sequence[str], kept: int) -> int | None:
    """How many of `words` the sound has, judged around `kept`."""
    around = words[: kept + AROUND]
    if not ear.knows(around):
        return None
    choices = [around[:count] for count in range(max(1, kept - AROUND), len(around) + 1)]
    if not choices:
        return 0
    heard = ear.hear(pcm, [" ".join(choice) for choice in choices]).split()
    return len(heard)


def corpus_words(text: str) -> list[str]:
    return [unit.lower() for unit in corpus.units(text) if unit.isalpha()]


def _kept(caller: Caller, item_id: str) -> list[str]:
    caller.send("conversation.item.retrieve", item_id=item_id)
    item: dict[str, Any] = caller.until("conversation.item.retrieved")[-1]["item"]
    return corpus_words("".join(part["transcript"] for part in item["content"]))


def _read_for(caller: Caller, until_s: float) -> list[Event]:
    """What comes until then; the user speaks at that moment, whatever comes."""
    events = []
    while (left_s := until_s - time.monotonic()) > 0:
        try:
            events.append(caller.receive(left_s))
        except TimeoutError:
            break
    return events
