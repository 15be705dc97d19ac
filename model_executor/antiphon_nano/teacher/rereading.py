"""Rereading, `python -m antiphon_nano.teacher.rereading SHARD READ`: the teacher reads a shard's texts.

Writes the shard READ, always again: it takes seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from antiphon_nano.teacher import shard
from antiphon_nano.teacher.hibari import Teacher
from antiphon_nano.teacher.synthesis import make_natural


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shard", type=Path)
    parser.add_argument("read", type=Path)
    arguments = parser.parse_args()
    texts = [utterance.text for utterance in shard.read(arguments.shard).utterances]
    make_natural(Teacher(), arguments.read, texts)


if __name__ == "__main__":
    main()
