"""Disk work of uploads in threads, and its errors as errors of the API."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from antiphon_server.errors import InsufficientStorage, Unavailable, is_out_of_descriptors

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RETRY_S = 10.0

_log = logging.getLogger("antiphon.files")

Result = TypeVar("Result")


async def run_in_thread(work: Callable[[], Result]) -> Result:
    """Runs `work` to its end, also if the caller is cancelled meanwhile: it may hold an open file."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        with disk_errors():
            return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turns an OSError of the folder into 507 if the disk is full, and else into 503."""
    try:
        yield
    except OSError as error:
        if is_out_of_descriptors(error):
            raise
        _log.error("the folder of uploaded files failed: %s", os.strerror(error.errno or 0))
        if error.errno in _FULL:
            raise disk_full() from None
        raise Unavailable(
            "the server cannot store files now", code="files_unavailable", retry_after_s=_RETRY_S
        ) from None


def disk_full() -> InsufficientStorage:
    return InsufficientStorage(
        "the server's disk is full", code="disk_full", hint="delete files that are not needed any more"
    )
