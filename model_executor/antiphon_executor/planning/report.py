"""Formats a memory plan as text or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from antiphon_executor.planning.outlook import Outlook
from antiphon_executor.planning.planner import EngineMemory, GiB, MemoryPlan

TEXT_ONLY = "this checkpoint has no Talker: the server answers in text"

HostMemory = tuple[tuple[str, int], ...]

_COLUMNS = ("weights", "slots", "working", "cache", "share")


def plan_as_text(plan: MemoryPlan, view: Outlook | None = None, host: HostMemory = ()) -> str:
    """One row per engine, in GiB per GPU; what that is enough for; what is missing. `host`: of the server."""
    lines = [f"{'GiB':<10}{'where':<18}" + "".join(f"{name:>10}" for name in _COLUMNS)]
    lines += [_row(engine) for engine in plan.engines]
    lines += [_requests(engine) for engine in plan.engines]
    lines += _outlook_lines(view) if view else []
    if host:
        parts = ", ".join(f"{name} {size / GiB:.2f}" for name, size in host)
        lines.append(f"server: at most {sum(size for _, size in host) / GiB:.2f} GiB ({parts})")
    lines += [f"change: {advice}" for advice in view.advice] if view else []
    lines += [] if plan.has_talker else [TEXT_ONLY]
    lines += [f"short: {shortage}" for shortage in plan.shortages] or ["it fits"]
    return "\n".join(lines)


def plan_as_line(plan: MemoryPlan) -> str:
    """For the output of a server that starts."""
    engines = "; ".join(
        f"{engine.name} {(engine.weights_bytes + engine.slots_bytes) / GiB:.2f} GiB and a cache of "
        f"{engine.blocks * engine.pages.block_tokens // engine.pages.token_groups:,} tokens"
        for engine in plan.engines
    )
    streams = f", {plan.streams} streams" if len(plan.engines) > 1 else ""
    return f"memory plan: {engines}; {plan.contexts} requests of the whole context{streams}"


def plan_as_json(plan: MemoryPlan, view: Outlook, host: HostMemory = ()) -> str:
    totals = {"fits": plan.fits, "contexts": plan.contexts, "streams": plan.streams}
    fields = asdict(plan)
    for engine, shown in zip(plan.engines, fields["engines"], strict=True):
        shown |= {"blocks": engine.blocks, "request_bytes": engine.request_bytes, "requests": engine.requests}
        shown |= {"block_tokens": engine.pages.block_tokens, "block_bytes": engine.pages.block_bytes}
    return json.dumps(totals | fields | {"outlook": asdict(view), "host_bytes": dict(host)}, indent=2)


def _outlook_lines(view: Outlook) -> list[str]:
    rows = "; ".join(f"{row.tokens:,} tokens: {row.requests}" for row in view.rows)
    lines = [f"requests at once, of {rows}"] if view.rows else []
    lines.append(
        f"longest request: {view.longest_tokens:,} tokens ({view.limit}), so {_time(view.audio_s)} of audio, "
        f"or {_time(view.video_s)} of 1280 x 720 video at 1 frame a second with sound"
    )
    if 0 < view.spoken_audio_s < view.audio_s:
        lines.append(f"longest audio of a request that is answered in speech: {_time(view.spoken_audio_s)}")
    timed = [(row.tokens, row.prefill_s) for row in view.rows if row.prefill_s is not None]
    times = [f"{tokens:,} tokens: {seconds:,.0f} s" for tokens, seconds in timed]
    return [*lines, f"prefill: {'; '.join(times)}"] if times else lines


def _time(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


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
