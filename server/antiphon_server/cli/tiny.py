"""`antiphon tiny`: write a checkpoint with random weights, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from antiphon_server.config.parser import FlagParser


def make_parser() -> FlagParser:
    parser = FlagParser("antiphon tiny", "Write a tiny checkpoint with random weights, for tests.", "PATH")
    parser.add_argument("path", type=Path, help="a new or an empty folder", metavar="PATH")
    parser.add_argument(
        "--family", default="qwen3_omni", help="qwen3_omni or qwen3_5_omni [qwen3_omni]", metavar="NAME"
    )
    parser.add_argument(
        "--layout",
        default="saved",
        help="saved: files as transformers saves them; released: as Qwen3-Omni-30B-A3B-Instruct has them "
        "[saved]",
        metavar="NAME",
    )
    parser.add_argument(
        "--variant",
        default="instruct",
        help="instruct, or without a Talker: thinking, captioner [instruct]",
        metavar="NAME",
    )
    parser.add_argument(
        "--sizes",
        default="tiny",
        help="tiny; released: a Talker as large as Qwen3-Omni's, below a narrow Thinker (7 GB) [tiny]",
        metavar="NAME",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights [0]", metavar="N")
    return parser


def run(argv: Sequence[str]) -> int:
    parser = make_parser()
    given = parser.parse(argv)
    if given.path.exists() and (not given.path.is_dir() or any(given.path.iterdir())):
        parser.error(f"{given.path} exists and is not an empty folder")
    from antiphon_executor.tiny import write_tiny_checkpoint

    try:
        write_tiny_checkpoint(given.path, given.family, given.seed, given.layout, given.variant, given.sizes)
    except ValueError as error:
        parser.error(str(error))
    print(f"{given.path}: {given.family}, random weights, seed {given.seed}")  # noqa: T201
    return 0
