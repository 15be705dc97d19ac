"""The process that measures schemas: small, replaced when it dies, ended with the server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from antiphon_executor.interface.grammar_verdict import Verdict
from antiphon_server.chat.schema.cost_process import CostProcess
from antiphon_server.errors import BadRequest
from tests.server.chat.test_long_prompts import limited
from tests.server.grammar_pricing import Pricing, pricing
from tests.server.schemas import dear

__all__ = ["limited", "pricing"]


async def test_a_compiler_that_has_died_is_started_again(pricing: Pricing) -> None:
    died = pricing.process
    died.kill()
    await pricing.estimate('{"type": "object"}')
    assert pricing.pricer.pid != died.pid


async def test_who_notices_a_death_late_does_not_end_the_next_process(
    pricing: Pricing, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, restarted = CostProcess._request, asyncio.Event()

    async def noticed_late(process: CostProcess, schema: str) -> Verdict | None:
        verdict = await ask(process, schema)
        if verdict is None and "late" in schema:
            await restarted.wait()
        return verdict

    monkeypatch.setattr(CostProcess, "_request", noticed_late)
    died = pricing.process
    died.suspend()
    early = asyncio.create_task(pricing.estimate('{"type": "object"}', "a"))
    late = asyncio.create_task(pricing.estimate('{"title": "late"}', "b"))
    await asyncio.sleep(0.1)
    died.kill()
    await early
    following = pricing.process
    restarted.set()
    await late
    assert pricing.process == following


async def test_a_fork_that_crashes_is_a_refusal_and_no_more(pricing: Pricing) -> None:
    waiting = asyncio.create_task(pricing.estimate(dear(1, as_text=True)))
    await pricing.forks(1)
    pricing.process.children()[0].kill()
    with pytest.raises(BadRequest):
        await waiting
    await pricing.estimate('{"type": "object"}')


async def test_the_compilers_process_is_small_and_ends_with_the_server(pricing: Pricing) -> None:
    process = pricing.process
    loaded = {Path(mapping.path).name for mapping in process.memory_maps()}
    assert not any(name.startswith(("libtorch", "libc10", "_multiarray_umath")) for name in loaded)
    assert process.memory_info().rss < 150 << 20
    await pricing.pricer.close()
    assert not process.is_running()
