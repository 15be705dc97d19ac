"""One job of one part in the sandbox: every way in which a decoder can fail becomes one clear refusal.

In: a part, a job, its bytes. Out: what the decoder wrote, or `BadRequest`. Its words go to the log only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from antiphon_server.errors import BadRequest
from antiphon_server.media.job import Job
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox import Outcome, Sandbox
from antiphon_server.media.sniff import ACCEPTED, Container, sniff
from antiphon_server.media.source import MediaKind

logger = logging.getLogger(__name__)

_LOGGED_CHARACTERS = 300


def container_of(data: bytes, part: Part, kind: MediaKind) -> Container:
    """What the bytes are. Raises BadRequest where that is no format that can hold `kind`."""
    container = sniff(data)
    if container is None or kind not in container.kinds:
        accepted = ACCEPTED[kind]
        raise part.bad("is not in a format that is accepted", f"Send {accepted}.", "media_format_unsupported")
    return container


async def attempt(
    sandbox: Sandbox, policy: MediaPolicy, part: Part, job: Job, data: Sequence[bytes]
) -> Outcome:
    """The outcome as it is, but for a deadline, which raises BadRequest."""
    outcome = await sandbox.run(job, data)
    if outcome.timed_out:
        fix = "Send a shorter or simpler file, or raise the limit."
        raise part.over("takes too long to decode", f"{policy.decode_s:g} s", "decode_s", fix)
    if not outcome.succeeded:
        logger.info(
            "%s: decoder failed: %a", part.name, outcome.log.decode(errors="replace")[:_LOGGED_CHARACTERS]
        )
    return outcome


@contextmanager
def first_failure() -> Iterator[None]:
    """Around a TaskGroup: lets its first failure out alone, when all its tasks have ended."""
    try:
        yield
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def is_full(outcome: Outcome, job: Job) -> bool:
    """Whether the decoder was stopped by the cap on its output."""
    return len(outcome.output) >= job.output_bytes


def refuse(part: Part) -> BadRequest:
    """What to raise for a decoder that failed or died."""
    kind = "image" if part.source.is_frame_list else part.source.kind
    what = "could not be decoded: the file is damaged or not what it claims to be"
    return part.bad(what, f"Send {ACCEPTED[kind]}.", "media_undecodable")
