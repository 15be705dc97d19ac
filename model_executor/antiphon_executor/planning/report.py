"""Formats a memory plan as text or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from antiphon_executor.planning.planner import EngineMemory, GiB, MemoryPlan

TEXT_ONLY = "this checkpoint has no Talker: the server answers in text"
_COLUMNS = ("weights", "slots", "working", "cache", "share")


def plan_as_text(plan: MemoryPlan) -> str:
    """One row per engine, in GiB per GPU; then what that is enough for, or what is missing."""
    lines = [f"{'GiB':<10}{'where':<18}" + "".join(f"{name:>10}" for name in _COLUMNS)]
    lines += [_row(engine) for engine in plan.engines]
    lines += [_requests(engine) for engine in plan.engines]
    lines += [] if plan.has_talker else [TEXT_ONLY]
    lines += [f"short: {shortage}" for shortage in plan.shortages] or ["it fits"]
    return "\n".join(lines)


def plan_as_json(plan: MemoryPlan) -> str:
    totals = {"fits": plan.fits, "contexts": plan.contexts, "streams": plan.streams}
    return json.dumps(totals | asdict(plan), indent=2)


def _row(engine: EngineMemory) -> str:
    where = f"GPU {','.join(map(str, engine.gpus))}" if engine.gpus else "CPU"
    sizes = [getattr(engine, f"{name}_bytes") for name in _COLUMNS]
    return f"{engine.name:<10}{where:<18}" + "".join(f"{size / GiB:>10.2f}" for size in sizes)


def _requests(engine: EngineMemory) -> str:
    size = engine.request_bytes / GiB
    return (
        f"{engine.name}: a request of {engine.request_tokens:,} tokens takes {size:.2f} GiB of the cache, "
        f"which holds {engine.requests} of them at the same time"
    )
