"""All recordings that antiphon-nano listens to, by purpose and by text.

From the shards of the teacher and of `hearing.synthesis`. Samples stay on disk until they are used.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from antiphon_nano.teacher import shard
from antiphon_nano.thinker.hearing.augmentation import Recording
from antiphon_nano.thinker.hearing.script import Line

TEACHERS = ("heart", "deep")
UNANSWERED = ("sentence", "seen", "named", "name asked")
"""Kinds of line without an answer of their own."""


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """A line and its recording."""

    line: Line
    recording: Recording

    @property
    def voice(self) -> str:
        return self.recording.utterance.voice


class Library:
    """`read`: the teacher's sentences. `asked`: by voice and kind. `part` is "asked" or "judged"."""

    def __init__(self, read_folder: Path, asked_folder: Path, part: str = "asked") -> None:
        self.read: list[Recording] = []
        for path in shard.all_of(read_folder):
            whole = shard.read(path)
            self.read += [Recording(whole, utterance) for utterance in whole.utterances]
        self._asked: dict[str, dict[str, list[RecordedLine]]] = {}
        self._seen: dict[str, list[RecordedLine]] = defaultdict(list)
        for path in sorted(asked_folder.glob(f"{part}-*.lines.json")):
            if path.with_name(path.name.replace(".lines.json", ".json")).exists():
                self._add(path)

    @property
    def voices(self) -> list[str]:
        return list(self._asked)

    def kinds(self, voice: str) -> list[str]:
        return list(self._asked[voice])

    def of(self, voice: str, kind: str) -> list[RecordedLine]:
        """All lines of a kind in a voice."""
        return self._asked[voice].get(kind, [])

    def sentence(self, rng: random.Random) -> Recording:
        """Two of three sentences are the teacher's."""
        others = [voice for voice in self._asked if voice not in TEACHERS]
        if others and rng.random() < 0.35:
            return rng.choice(self.of(rng.choice(others), "sentence")).recording
        return rng.choice(self.read)

    def question(self, rng: random.Random) -> RecordedLine:
        """A question with its own answer, in any voice. The teacher's voice is twice as frequent as each
        other.
        """
        voice = self._voice(rng)
        kinds = [
            kind for kind in self._asked[voice] if kind not in ("sentence", "seen", "named", "name asked")
        ]
        counts = [len(self._asked[voice][kind]) for kind in kinds]
        (kind,) = rng.choices(kinds, counts)
        return rng.choice(self._asked[voice][kind])

    def line(self, rng: random.Random, kind: str) -> RecordedLine:
        return rng.choice(self.of(self._voice(rng), kind))

    def seen(self, rng: random.Random, text: str) -> RecordedLine | None:
        """`text`, a question about a picture or clip, in any voice that has read it; or None."""
        found = self._seen.get(text)
        return rng.choice(found) if found else None

    def _voice(self, rng: random.Random) -> str:
        names = list(self._asked)
        return rng.choices(names, [2 if name in TEACHERS else 1 for name in names])[0]

    def _add(self, path: Path) -> None:
        lines = [Line(**record) for record in json.loads(path.read_text())]
        whole = shard.read(path.with_name(path.name.removesuffix(".lines.json")))
        kinds: dict[str, list[RecordedLine]] = defaultdict(list)
        for line, utterance in zip(lines, whole.utterances, strict=True):
            spoken = RecordedLine(line, Recording(whole, utterance))
            kinds[line.kind].append(spoken)
            if line.kind == "seen":
                self._seen[line.text].append(spoken)
        self._asked[whole.utterances[0].voice] = dict(kinds)
