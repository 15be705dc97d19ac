"""The tasks that change or watch the server's stage: engine watch, drain, loop-lag probe.

Every wait has a deadline: draining, and the last events of streams whose engine has died.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from antiphon_executor.interface.engine import OmniEngine
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.config.settings import Timeouts
from antiphon_server.errors import ApiError
from antiphon_server.files.store import FileStore
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.keys.key_ring import KeyRing
from antiphon_server.observability.metrics import ServerMetrics

_WATCH_EVERY_S = 0.25
_LAST_EVENTS_S = 2.0
_LAG_EVERY_S = 0.25
_EXPIRY_EVERY_S = 15.0
_KEYS_EVERY_S = 0.5

_log = logging.getLogger("antiphon.lifecycle")


async def watch_engine(engine: OmniEngine, life: Lifecycle, admission: AdmissionController) -> None:
    """Returns when a stage has been given up and its streams have had time to send their errors."""
    # The engine has no event for this: a stage may die without a message.
    while not (dead := engine.status().given_up):  # noqa: ASYNC110
        await asyncio.sleep(_WATCH_EVERY_S)
    life.fail(dead)
    _log.error("engine stopped", extra={"fields": {"stages": ",".join(dead), "turns": admission.requests}})
    await _until_empty(admission, _LAST_EVENTS_S)


async def drain(life: Lifecycle, admission: AdmissionController, timeouts: Timeouts) -> bool:
    """Reports not ready, refuses new requests after the grace period, and waits for the running ones.

    Returns False if some were still running at the deadline.
    """
    life.stage = "draining"
    _log.info("draining", extra={"fields": {"turns": admission.requests}})
    await asyncio.sleep(timeouts.drain_grace_s)
    life.stage = "closed"
    return await _until_empty(admission, timeouts.drain_s)


async def probe_loop_lag(metrics: ServerMetrics, clock: Callable[[], float] = time.monotonic) -> None:
    """Measures repeatedly how late the event loop runs a timer."""
    loop = asyncio.get_running_loop()
    metrics.watch_tasks(lambda: len(asyncio.all_tasks(loop)))
    while True:
        due = clock() + _LAG_EVERY_S
        await asyncio.sleep(_LAG_EVERY_S)
        metrics.loop_probed(max(0.0, clock() - due))


async def watch_keys(keys: KeyRing) -> None:
    """Takes over a changed key file once it rests: a part of one may be valid, with other keys."""
    stamp = None
    while True:
        await asyncio.sleep(_KEYS_EVERY_S)
        before, stamp = stamp, await asyncio.to_thread(keys.stamp)
        if stamp == before:
            await asyncio.to_thread(keys.reload_if_changed)


async def delete_expired_files(files: FileStore) -> None:
    """Deletes uploaded files when their lifetime has ended."""
    while True:
        await asyncio.sleep(_EXPIRY_EVERY_S)
        try:
            await files.delete_expired()
        except ApiError:
            _log.exception("expired files could not be deleted")


async def _until_empty(admission: AdmissionController, limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await admission.until_empty()
    except TimeoutError:
        return False
    return True
