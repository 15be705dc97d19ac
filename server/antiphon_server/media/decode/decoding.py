"""One job of one part in the sandbox: every way in which a decoder can fail becomes one clear refusal.

In: a part, a job, its bytes. Out: what the decoder wrote, or `BadRequest`. A decoder's words go to the log.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from antiphon_server.media.decode.formats import Format
from antiphon_server.media.decode.refusals import client_error, damaged, unsupported
from antiphon_server.media.decode.sniff import sniff
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import Ask, Job, Report, decode_report
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.source import MediaKind

logger = logging.getLogger(__name__)

_LOGGED_CHARACTERS = 300

Output = bytearray | mmap.mmap


def format_of(data: bytes, part: Part, kind: MediaKind) -> Format:
    """What the bytes are. Raises BadRequest where that is no format that can hold `kind`."""
    found = sniff(data)
    if found is None or not found.demuxer or kind not in found.kinds:
        raise unsupported(part, found, kind)
    return found


async def decode(
    sandbox: Sandbox, policy: MediaPolicy, part: Part, job: Job, data: Sequence[bytes], ask: Ask | None = None
) -> tuple[Report, Output]:
    """What became of the job, and its output. Raises BadRequest for a file that is refused."""
    outcome = await sandbox.run(job, data, ask)
    if outcome.timed_out:
        fix = "Send a shorter or simpler file, or raise the limit."
        raise part.over("takes too long to decode", f"{policy.decode_s:g} s", "decode_s", fix)
    report = decode_report(outcome.log) if outcome.succeeded else None
    if report is None:
        said = outcome.log.decode(errors="replace")[-_LOGGED_CHARACTERS:]
        logger.info("%s: decoder failed: %a", part.name, said)
        raise damaged(part)
    if report.trouble is not None:
        raise client_error(part, report, policy)
    return report, outcome.output


@contextmanager
def first_failure() -> Iterator[None]:
    """Around a TaskGroup: lets its first failure out alone, when all its tasks have ended."""
    try:
        yield
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
