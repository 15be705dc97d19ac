"""A schema cost estimator with its own compiler process, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from antiphon_server.admission.preparation_cost import PreparationCost
from antiphon_server.admission.rate_limiter import RateLimiter
from antiphon_server.chat.schema.cost_estimator import SchemaCostEstimator
from antiphon_server.config.chat import GrammarPolicy

GENEROUS_S = 60.0


class Pricing:
    """A pricer, and what of its process can be seen."""

    def __init__(self, pricer: SchemaCostEstimator, rates: RateLimiter) -> None:
        self.pricer = pricer
        self._rates = rates

    async def estimate(self, schema: str, owner: str = "") -> float:
        with PreparationCost(self._rates, owner) as cost:
            return await self.pricer.estimate(schema, owner, "schema", cost)

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.pricer.pid)

    async def forks(self, number: int) -> None:
        """Waits until that many run."""
        async with asyncio.timeout(GENEROUS_S):
            while len(self.process.children()) != number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
async def pricing(checkpoint: Path, limited: Any, request: pytest.FixtureRequest) -> AsyncIterator[Pricing]:
    policy = getattr(request, "param", GrammarPolicy())
    pricer = SchemaCostEstimator(checkpoint, policy)
    await pricer.start()
    yield Pricing(pricer, limited.admission.rates)
    await pricer.close()
