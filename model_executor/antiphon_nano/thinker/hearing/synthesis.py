"""Stage "asked", `python -m antiphon_nano.thinker.hearing.synthesis FOLDER`: every voice reads the script.

Writes shards `asked-VOICE` (training) and `judged-VOICE` (evaluation) to FOLDER, with their lines beside them
in `.lines.json`, and skips those that exist. Needs no torch.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import asdict
from pathlib import Path

from antiphon_nano.teacher import shard
from antiphon_nano.thinker.hearing import script, voices
from antiphon_nano.thinker.hearing.script import Line
from antiphon_nano.thinker.hearing.voices import Reader

DRAWN = 1600
SENTENCES = 700
"""Sentences of each voice but the teacher's, of whom there are hours."""
JUDGED = 60
_PART = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for reader in voices.every():
        rng = random.Random(reader.name)
        taught = reader.name in ("heart", "deep")
        lines = script.fixed() + script.drawn(rng, DRAWN) + script.sentences(rng, 0 if taught else SENTENCES)
        _read(
            reader,
            folder / f"judged-{reader.name}",
            script.judged(random.Random(f"judged {reader.name}"), JUDGED),
        )
        if reader.name != script.UNHEARD:
            _read(reader, folder / f"asked-{reader.name}", lines)


def _read(reader: Reader, path: Path, lines: list[Line]) -> None:
    """A shard of `lines`, in order."""
    if path.with_suffix(".json").exists():
        return
    began, frames = time.monotonic(), 0
    utterances, sounds = [], []
    for start in range(0, len(lines), _PART):
        part = lines[start : start + _PART]
        for line, sound in zip(part, reader.read([line.text for line in part]), strict=True):
            sounds.append(voices.whole_frames(sound))
            length = len(sounds[-1]) // shard.FRAME_SAMPLES
            utterances.append(shard.Utterance(line.text, reader.name, frames, length, [], []))
            frames += length
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".lines.json").write_text(json.dumps([asdict(line) for line in lines]))
    shard.write(path, utterances, sounds)
    minutes = frames * shard.FRAME_SAMPLES / shard.SAMPLE_RATE_HZ / 60
    print(
        f"{path.name}: {len(lines)} lines, {minutes:.1f} min, made in {time.monotonic() - began:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
