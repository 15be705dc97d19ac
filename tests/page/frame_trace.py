"""Script time of each frame, from the browser's own trace of a page."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.browser.page import Page

# What runs script: animation frames, timers, messages and events, and what follows each of them.
_SCRIPT = {"FireAnimationFrame", "TimerFire", "EventDispatch", "RunMicrotasks", "HandlePostMessage"}
_CATEGORIES = "devtools.timeline,disabled-by-default-devtools.timeline"


@dataclass
class FrameTrace:
    """`script_ms`: thread time of scripts in each frame."""

    events: list[dict[str, Any]] = field(default_factory=list)
    is_complete: bool = False

    @property
    def script_ms(self) -> list[float]:
        frames = sorted(one["ts"] for one in self.events if one["name"] == "FireAnimationFrame")
        spent = [0.0] * (len(frames) + 1)
        for one in self.events:
            if one["name"] in _SCRIPT and one.get("ph") == "X" and not self._is_inside(one):
                spent[bisect(frames, one["ts"])] += one.get("tdur", one.get("dur", 0)) / 1e3
        return spent[1:]

    def _is_inside(self, inner: dict[str, Any]) -> bool:
        """Microtasks run at the end of a task and inside callbacks too."""
        return inner["name"] == "RunMicrotasks" and any(
            one is not inner
            and one["name"] in _SCRIPT
            and one["tid"] == inner["tid"]
            and one["ts"] <= inner["ts"]
            and inner["ts"] + inner.get("dur", 0) <= one["ts"] + one.get("dur", 0)
            for one in self.events
        )


@contextmanager
def traced(page: Page) -> Iterator[FrameTrace]:
    """Complete when the block has been left."""
    trace = FrameTrace()

    def take(method: str, event: dict[str, Any]) -> None:
        if method == "Tracing.dataCollected":
            wanted = _SCRIPT | {"FireAnimationFrame"}
            trace.events += [one for one in event["value"] if one["name"] in wanted]
        trace.is_complete = trace.is_complete or method == "Tracing.tracingComplete"

    page.listen_to(take)
    page.send("Tracing.start", categories=_CATEGORIES, transferMode="ReportEvents")
    yield trace
    page.send("Tracing.end")
    for _ in range(100):
        if trace.is_complete:
            return
        page.listen(0.1)
    raise AssertionError("the trace did not end")
