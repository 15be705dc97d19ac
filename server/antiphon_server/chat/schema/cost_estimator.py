"""Cost of JSON schemas before the engine compiles them, and fair access to the engine's compiler.

Each key has one schema at a time measured, and one expensive schema compiled by the engine, so no key waits
for another key's schemas.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from antiphon_executor.interface.grammar_verdict import Flaw, Verdict
from antiphon_server.admission.fair_semaphore import FairSemaphore, SemaphoreLimits
from antiphon_server.admission.preparation_cost import PreparationCost
from antiphon_server.chat.schema.cost_process import CostProcess
from antiphon_server.config.chat import GrammarPolicy
from antiphon_server.errors import BadRequest, Unavailable

# The engine compiles one schema after the other. Cheaper schemas do not wait for a compile slot.
_EXPENSIVE_S = 0.02
_TEXTS: dict[Flaw, tuple[str, str]] = {
    "unsupported": (
        "it is not a JSON schema that an answer can follow",
        "Check the values of its keywords, and send a simpler schema.",
    ),
    "unsatisfiable": ("no finite answer satisfies it", "Check its bounds, required properties and $refs."),
    "reference": ("a $ref has no target", "Write it as #/$defs/NAME, with the schema in $defs."),
    "too_complex": (
        "it takes too long or too much memory to compile",
        "Send fewer properties, alternatives or tools, and lower counts.",
    ),
}

_log = logging.getLogger("antiphon.grammar")


class SchemaCostEstimator:
    """One per server. `folder`: the checkpoint's folder."""

    def __init__(self, folder: Path, policy: GrammarPolicy) -> None:
        self._policy = policy
        self._process = CostProcess(folder, policy)
        measuring = SemaphoreLimits(policy.parallel, 1, policy.queued_per_key, policy.wait_s)
        # Twice as many may wait here, so that a measured schema is rarely refused.
        compiling = replace(measuring, queued_per_key=2 * policy.queued_per_key)
        self._measuring = FairSemaphore(measuring, "compiling JSON schemas")
        self._compiling = FairSemaphore(compiling, "compiling JSON schemas")
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()

    @property
    def pid(self) -> int | None:
        """The id of the compiler's process; None if it is not running."""
        return self._process.pid

    async def start(self) -> None:
        """Starts the compiler's process ahead. If it fails, requests with a schema are refused with 503."""
        try:
            await self._process.start()
        except Unavailable:
            _log.error("the compiler of JSON schemas did not start; requests with a schema are refused")

    async def close(self) -> None:
        await self._process.close()

    async def estimate(self, schema: str, owner: str, param: str, cost: PreparationCost) -> float:
        """Seconds that the engine takes to compile a schema. BadRequest, naming `param`, if it cannot."""
        # The key is part of the name, so response times reveal nothing about other keys' schemas.
        name = hashlib.sha256(f"{owner}\0{schema}".encode()).digest()
        verdict = self._known.get(name)
        if verdict is None:
            async with self._measuring.slot(owner):
                verdict = self._known.get(name) or await self._measure(name, schema, cost)
        elif verdict.flaw is None:
            # The engine checks and compiles the schema again for each request.
            cost.count_compile(verdict.check_s + verdict.compile_s)
        flaw = verdict.flaw
        if flaw is None and self._delays_others(verdict):
            flaw = "too_complex"
        if flaw is not None:
            raise self._refusal(flaw, param)
        return verdict.compile_s

    @asynccontextmanager
    async def compile_slot(self, owner: str, seconds: float) -> AsyncIterator[Callable[[], None]]:
        """A slot at the engine's compiler, until the callable is called or the block ends."""
        if seconds < _EXPENSIVE_S:
            yield lambda: None
            return
        release = await self._compiling.acquire(owner)
        is_over = False

        def over() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                release()

        try:
            yield over
        finally:
            over()

    def _delays_others(self, verdict: Verdict) -> bool:
        """Whether it delays other requests: vLLM checks it on the event loop and fills masks in each step."""
        return verdict.step_s > self._policy.step_s or verdict.check_s > self._policy.check_s

    async def _measure(self, name: bytes, schema: str, cost: PreparationCost) -> Verdict:
        verdict = await self._process.measure(schema)
        overran = verdict.flaw == "too_complex" and not verdict.check_s
        cost.count_compile(self._policy.compile_s if overran else verdict.check_s + verdict.compile_s)
        self._known[name] = verdict
        while len(self._known) > self._policy.cached_verdicts:
            self._known.popitem(last=False)
        return verdict

    def _refusal(self, flaw: Flaw, param: str) -> BadRequest:
        why, hint = _TEXTS[flaw]
        if flaw == "too_complex":
            memory = self._policy.memory_bytes >> 20
            why += f" (limits: {self._policy.compile_s:g} s, {memory} MiB)"
        code = "schema_too_complex" if flaw == "too_complex" else "schema_unsupported"
        return BadRequest(f"Invalid JSON schema in '{param}': {why}.", param=param, code=code, hint=hint)
