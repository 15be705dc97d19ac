"""Runs one decode job of one part in the sandbox and turns every failure into one clear error.

Error messages never contain a decoder's output; it goes to the log.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from antiphon_server.media.decode.formats import Format
from antiphon_server.media.decode.refusals import damaged_error, report_error, unsupported_error
from antiphon_server.media.decode.sniff import sniff
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import ChooseSize, DecodeReport, Job, decode_report
from antiphon_server.media.sandbox.pieces import TakePiece
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.source import MediaKind

logger = logging.getLogger(__name__)

_LOGGED_CHARS = 300

Output = bytearray | mmap.mmap


def detect_format(data: bytes, part: Part, kind: MediaKind) -> Format:
    """The format of the bytes. Raises BadRequest if it is unknown or cannot contain `kind`."""
    found = sniff(data)
    if found is None or not found.demuxer or kind not in found.kinds:
        raise unsupported_error(part, found, kind)
    return found


async def run_decode_job(
    sandbox: Sandbox,
    policy: MediaPolicy,
    part: Part,
    job: Job,
    data: Sequence[bytes],
    choose_size: ChooseSize | None = None,
    take_piece: TakePiece | None = None,
    take_frames: TakePiece | None = None,
) -> tuple[DecodeReport, Output]:
    """The report and the output of the job. Raises BadRequest if the file is not decoded."""
    outcome = await sandbox.run_job(job, data, choose_size, take_piece, take_frames)
    if outcome.timed_out:
        fix = "Send a shorter or simpler file, or raise the limit."
        raise part.limit_error("takes too long to decode", f"{policy.decode_s:g} s", "decode_s", fix)
    report = decode_report(outcome.log) if outcome.succeeded else None
    if report is None:
        log_text = outcome.log.decode(errors="replace")[-_LOGGED_CHARS:]
        logger.info("%s: decoder failed: %a", part.name, log_text)
        raise damaged_error(part)
    if report.failure is not None:
        raise report_error(part, report, policy)
    return report, outcome.output


@contextmanager
def raise_first_failure() -> Iterator[None]:
    """Around a TaskGroup: when all its tasks have ended, raises the first failure instead of the group."""
    try:
        yield
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
