"""The acceptance stages with an engine: D, the Talker alone; E, a whole server and `antiphon bench`.

They import vLLM, so `acceptance` imports this module only for them.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from transformers import AutoTokenizer
from vllm.platforms import current_platform

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.interface.settings import EngineSettings, TalkerSettings
from antiphon_executor.ipc.bridge import SocketFolder
from antiphon_executor.ipc.environment import prepare_environment
from antiphon_executor.stages.stage import start_stage
from antiphon_executor.stages.talker_args import talker_engine_args
from antiphon_executor.turn.dual_track_session import dual_track_talker
from antiphon_executor.turn.slots import SlotTracker
from tests.bench.front_end.processes import free_port, wait_until_ready
from tests.gpu.table import Given, Row
from tests.parity.talker.rig import RecordingBridge, TalkerRig, unwatched

TALKER_STREAMS = (1, 8, 32, 64)
SERVER_STREAMS = (1, 8)
_TEXT = "The quick brown fox jumps over the lazy dog and then it rests in the warm sun. "
_BENCH_WITHIN_S = 900.0


def stage_d(given: Given) -> list[Row]:
    """The time between frames of a stream, in engines of random weights, by the number of streams."""
    if given.device.type == "cuda":
        # vLLM raises if a step waits for the device.
        os.environ["VLLM_GPU_SYNC_CHECK"] = "error"
    return asyncio.run(_talker_rows(given))


async def _talker_rows(given: Given) -> list[Row]:
    streams = TALKER_STREAMS if given.device.type == "cuda" else given.batches
    rows = []
    async with _talker_alone(given.model, max(streams)) as rig:
        prompt, text = _tokens(given.model)
        for count in streams:
            await asyncio.gather(*(_speak(rig, prompt, text, 4, seed) for seed in range(count)))
            began = time.monotonic()
            spoken = await asyncio.gather(
                *(_speak(rig, prompt, text, given.steps, seed) for seed in range(count))
            )
            wall_s = time.monotonic() - began
            gaps = [b - a for arrived in spoken for a, b in pairwise(arrived)]
            frames = sum(len(arrived) for arrived in spoken)
            bound = 5_000.0 if count <= 8 else 8_000.0
            step_us = 1e6 * median(gaps)
            good = frames >= count * given.steps and (given.device.type != "cuda" or step_us <= bound)
            rows.append(Row("D", "talker step", count, "auto", step_us, 0.0, f"<= {bound:.0f} us", good))
            rows.append(
                Row("D", f"{frames} frames, each", count, "auto", 1e6 * wall_s / frames, 0.0, "noted", good)
            )
    return rows


async def _speak(rig: TalkerRig, prompt: list[int], text: list[int], frames: int, seed: int) -> list[float]:
    """When each of at least `frames` frames came; a stream that ends before is followed by another."""
    arrived: list[float] = []
    while len(arrived) < frames:
        sampling = SpeechSampling("ethan", seed=seed, max_frames=frames - len(arrived))
        spoken = await rig.speak(prompt, text, sampling)
        arrived += spoken.arrived_s
        if not spoken.arrived_s:
            raise RuntimeError("a stream has ended without a frame")
        seed += 1_000
    return arrived


def _tokens(model: Path) -> tuple[list[int], list[int]]:
    """A prompt with an open assistant turn, and a text longer than the speech."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer.encode("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    return prompt, tokenizer.encode(_TEXT * 20)


@asynccontextmanager
async def _talker_alone(model: Path, streams: int) -> AsyncIterator[TalkerRig]:
    talker = TalkerSettings(streams=streams, max_frames=1024, max_model_len=4096, media_rows=4096)
    folder = SocketFolder()
    prepare_environment(folder.path, on_cpu=current_platform.is_cpu(), streams=streams, engines=1)
    try:
        async with RecordingBridge(folder) as bridge:
            arguments = talker_engine_args(
                EngineSettings(model=model, talker=talker),
                text_socket=folder.text,
                frames_socket=folder.frames,
            )
            stage = await start_stage("talker", arguments, lambda text: None)
            try:
                slots = SlotTracker(streams, 1000)
                config = read_config(model)
                end = dual_track_talker(config, unwatched(stage), bridge, slots, talker.max_frames)
                yield TalkerRig(end, bridge, slots, stage)
            finally:
                stage.llm.shutdown()
    finally:
        folder.close()


def stage_e(given: Given) -> list[Row]:
    """A server of both engines on one device, measured by `antiphon bench`."""
    rows = []
    counts = SERVER_STREAMS if given.device.type == "cuda" else given.batches
    with TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        with _serving(given.model, folder / "serve.log", max(*counts, 8)) as url:
            started_us = 1e6 * (time.monotonic() - began)
            rows.append(Row("E", "start-up", 0, "auto", started_us, 0.0, "both engines start", True))
            for count in counts:
                rows += _bench_rows(url, folder / f"bench{count}.json", count, 4 * count)
    return rows


@contextmanager
def _serving(model: Path, log: Path, streams: int) -> Iterator[str]:
    port = free_port()
    # Random weights have a context as long as the released, which takes more cache than is needed here.
    flags = ["--model", str(model), "--port", str(port), "--streams", str(streams), "--max-model-len", "4096"]
    command = [sys.executable, "-m", "antiphon_server", "serve", *flags]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            wait_until_ready(port, server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _bench_rows(url: str, result: Path, count: int, requests: int) -> list[Row]:
    flags = [url, "--concurrency", str(count), "--requests", str(requests), "--json", str(result)]
    command = [sys.executable, "-m", "antiphon_server", "bench", *flags]
    subprocess.run(command, check=True, timeout=_BENCH_WITHIN_S)
    (level,) = json.loads(result.read_text())["levels"]
    good = level["good"] == requests
    rows = []
    for key, what, expected in (
        ("ttfa_s", "time to first audio, p50", "noted"),
        ("e2e_s", "whole answer, p50", "noted"),
    ):
        times = level["latencies"][key]
        micros = 1e6 * times["p50"] if times else 0.0
        rows.append(Row("E", what, count, "auto", micros, 0.0, expected, good))
    share = level["streams_with_underruns"] / max(1, level["good"])
    rows.append(Row("E", "answers with an underrun", count, "auto", 0.0, share, "none", good and share == 0))
    return rows
