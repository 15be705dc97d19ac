"""Reservations for tests of admission control."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import RequestSize, SpeechDemand
from antiphon_server.admission.reservation import Reservation

LIVE = SpeechDemand()
BATCH = SpeechDemand(live=False)
OPTIONAL = SpeechDemand(optional=True)


def controller(
    sequences: int = 2,
    streams: int = 1,
    queued_requests: int = 2,
    media_seconds: float = 100,
    queue_s: float = 30,
    media_bytes: int = 1_000,
) -> AdmissionController:
    return AdmissionController(
        Capacity(sequences, streams, queued_requests, media_seconds, queue_s, media_bytes)
    )


async def started(
    stack: AsyncExitStack,
    admission: AdmissionController,
    speech: SpeechDemand | None = None,
    *,
    owner: str = "",
    choices: int = 1,
) -> Reservation:
    """A reservation that has its slot until the stack closes."""
    reservation = stack.enter_context(admission.admit(Reservation(owner, speech)))
    await asyncio.wait_for(admission.wait_for_slot(reservation, RequestSize(choices=choices)), 60)
    return reservation


async def append_when_started(
    admission: AdmissionController, order: list[str], name: str, speech: SpeechDemand | None = None
) -> None:
    """A request that appends `name` to `order` when it starts, and ends."""
    with admission.admit(Reservation(speech=speech)) as reservation:
        await admission.wait_for_slot(reservation, RequestSize())
        order.append(name)


async def settle() -> None:
    """Let all tasks run that are ready."""
    for _ in range(8):
        await asyncio.sleep(0)
