"""Ten minutes of media in windows against the same in one piece, in float32, of both families.

The engine has the windows; transformers' Qwen3-Omni and the reference's Qwen3.5-Omni take each medium whole.
Exits with 1 if tokens or positions differ, or rows or log-probabilities by more than float error.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tests.parity.thinker.conversations import AUDIO, VIDEO, Conversation, one_turn, picture, sound
from tests.parity.thinker.engine import Answer, running_thinker
from tests.parity.thinker.oracle import Oracle
from tests.parity.thinker.qwen3_5_checkpoint import write_checkpoint
from tests.parity.thinker.qwen3_5_oracle import Qwen3_5Oracle

from antiphon_executor.interface.media import VideoClip
from antiphon_executor.tiny import write_tiny_checkpoint

FAMILIES = ("qwen3_omni", "qwen3_5_omni")
MEDIA = ("audio", "video", "video with sound")
CONTEXT = 32_768
ANSWER_TOKENS = 2
# Of the largest value of all rows, and of a log-probability: the bounds of the parity tests.
MOST_ROW_ERROR, MOST_LOGPROB_ERROR = 1e-4, 1e-3
# A smaller lead of the best token says nothing about the tokens.
LEAST_MARGIN = 1e-3
# With 5.5 s for two frames no window ends at a block of 8 s of sound, and transformers' positions are exact.
ODD_RATE = 4 / 11


def conversations(seconds: float, seed: int = 1) -> list[Conversation]:
    """Windows of 120 s of sound; of silent video cut at 8 s; of video with sound cut anywhere."""
    silent = replace(_video(seed, round(seconds / 2), (128, 192)), frames_per_second=0.5)
    shown = _video(seed + 1, round(seconds * ODD_RATE), (256, 384))
    heard = replace(shown, frames_per_second=ODD_RATE, audio=sound(seed + 1, seconds))
    return [
        one_turn("audio", f"{AUDIO}What is said?", audios=(sound(seed, seconds + 0.3),)),
        one_turn("video", f"{VIDEO}Describe.", videos=(silent,)),
        one_turn("video with sound", f"{VIDEO}Who?", videos=(heard,)),
    ]


def _video(seed: int, frames: int, size: tuple[int, int]) -> VideoClip:
    return VideoClip(np.stack([picture(seed + at, *size).pixels for at in range(frames)]), 1.0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-windows", description=__doc__)
    parser.add_argument("--family", nargs="*", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--media", nargs="*", choices=MEDIA, default=MEDIA)
    parser.add_argument("--seconds", type=float, default=600.0, help="Of each medium.")
    parser.add_argument("--seed", type=int, default=1, help="Of the media: a router's tie is in some.")
    parser.add_argument("--out", type=Path, default=Path("build/windows"), help="A folder for the results.")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    is_same = True
    for family in given.family:
        compare = {"qwen3_omni": _qwen3_omni, "qwen3_5_omni": _qwen3_5_omni}[family]
        for one in (each for each in conversations(given.seconds, given.seed) if each.name in given.media):
            began_s = time.monotonic()
            with TemporaryDirectory() as folder:
                row = compare(Path(folder), one)
            gc.collect()
            is_same = is_same and bool(row["same"])
            print(f"{family}, {one.name}, {time.monotonic() - began_s:.0f} s: {json.dumps(row)}", flush=True)
            (given.out / f"{family}-{one.name.replace(' ', '_')}.json").write_text(json.dumps(row) + "\n")
    return int(not is_same)


def _qwen3_omni(folder: Path, conversation: Conversation) -> dict[str, float | bool]:
    checkpoint = folder / "checkpoint"
    write_tiny_checkpoint(checkpoint, layout="released")
    answer = asyncio.run(_answer(checkpoint, folder, conversation))
    oracle = Oracle(checkpoint)
    truth = oracle.answer(conversation, ANSWER_TOKENS)
    places = np.array_equal(answer.rows.positions, truth.positions)
    return _compared(answer, truth.prompt_token_ids, truth.answer, truth.margin, truth.hidden, places)


def _qwen3_5_omni(folder: Path, conversation: Conversation) -> dict[str, float | bool]:
    checkpoint = write_checkpoint(folder / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    config["talker_config"]["max_media_rows"] = CONTEXT
    (checkpoint / "config.json").write_text(json.dumps(config))
    answer = asyncio.run(_answer(checkpoint, folder, conversation))
    truth = Qwen3_5Oracle(checkpoint).follow(conversation, answer.answer)
    error = max(
        abs(logprob - float(truth.logprobs[step, token]))
        for step, top in enumerate(answer.logprobs)
        for token, logprob in top.items()
    )
    row = _compared(
        answer, truth.prompt_token_ids, truth.choice, float(truth.margin.min()),
        truth.accepted, has_places=True,
    )  # fmt: skip
    return row | {"logprob_error": error, "same": bool(row["same"]) and error < MOST_LOGPROB_ERROR}


async def _answer(checkpoint: Path, folder: Path, conversation: Conversation) -> Answer:
    async with running_thinker(
        checkpoint, folder, max_model_len=CONTEXT, max_num_seqs=2, kv_cache_memory_bytes=512 << 20
    ) as running:
        turn = running.turn(conversation.prompt, conversation.media)
        return await running.answer(turn, ANSWER_TOKENS)


def _compared(
    answer: Answer,
    prompt: Sequence[int],
    choice: Sequence[int],
    margin: float,
    hidden: np.ndarray,
    has_places: bool,
) -> dict[str, float | bool]:
    """`row_error`: the greatest difference of a media token's row, in parts of the greatest value.

    `rows_beyond`: the rows that differ by more than float error.
    """
    differences = np.abs(answer.rows.rows - hidden[answer.rows.row_index]).max(axis=1) / np.abs(hidden).max()
    error = float(differences.max())
    same_prompt = answer.prompt_token_ids == list(prompt) == answer.rows.prompt_token_ids
    same_answer = answer.answer == list(choice) or margin < LEAST_MARGIN
    return {
        "same": same_prompt and same_answer and has_places and error < MOST_ROW_ERROR,
        "tokens": len(prompt),
        "rows": len(answer.rows.row_index),
        "row_error": error,
        "rows_beyond": int((differences >= MOST_ROW_ERROR).sum()),
        "margin": margin,
    }


if __name__ == "__main__":
    raise SystemExit(main())
