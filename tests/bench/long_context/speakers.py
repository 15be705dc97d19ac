"""Clients that listen to spoken answers one after the other, while something else runs: `antiphon bench`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from tests.e2e.server_process import RunningServer

# Spoken by antiphon-nano word for word; about eight seconds each.
SENTENCES = tuple(
    f"Read this aloud: the {colour} {thing} is {place} the house, and the {other} is under the table."
    for colour in ("red", "green", "blue", "yellow")
    for thing, other in (("ball", "dog"), ("cat", "box"), ("bird", "book"))
    for place in ("near", "behind")
)
_LONGEST_S = 6 * 3_600
_END_WITHIN_S = 120


@dataclass(frozen=True)
class Listened:
    """Of `streams` at once. `underruns`, `silent_s`: of all answers. `first_audio_s`: the median."""

    streams: int
    answers: int
    failed: int
    audio_s: float
    underruns: int
    silent_s: float
    first_audio_s: float | None


class Speakers:
    """`streams` answers at a time from its entry to its exit; then `heard`."""

    def __init__(self, server: RunningServer, streams: int) -> None:
        self._server = server
        self._streams = streams
        self.heard: Listened | None = None

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        (folder / "prompts").write_text("\n".join(SENTENCES))
        self._report = folder / "report.json"
        self._log = (folder / "log").open("w+")
        command = [sys.executable, "-m", "antiphon_server", "bench", self._server.url]
        command += ["--concurrency", str(self._streams), "--duration", str(_LONGEST_S), "--retries", "3"]
        command += ["--distinct", str(len(SENTENCES)), "--prompts", str(folder / "prompts")]
        command += ["--json", str(self._report)]
        self._bench = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bench.send_signal(signal.SIGINT)
        try:
            self._bench.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._bench.kill()
        if not self._report.exists():
            self._log.seek(0)
            raise RuntimeError(f"antiphon bench wrote no report: {self._log.read()[-2_000:]}")
        (level,) = json.loads(self._report.read_text())["levels"]
        first = level["latencies"]["ttfa_s"]
        self.heard = Listened(
            self._streams,
            level["good"],
            # Those that were being answered when the watch ended are cancelled.
            level["requests"] - level["good"] - level["outcomes"].get("cancelled", 0),
            level["audio_s"],
            level["underruns"],
            level["underrun_s"],
            first and first["p50"],
        )
        self._log.close()
        self._folder.cleanup()
