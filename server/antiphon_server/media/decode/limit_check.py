"""Check of a part's length before it is decoded: one refusal that names every limit that is too small."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.errors import BadRequest
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.refusals import too_long_error
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy, flag

_SECOND_BYTES = INPUT_SAMPLE_RATE_HZ * 4
_MIB = 1 << 20
CONTEXT_CODE = "context_length_exceeded"


@dataclass(frozen=True, slots=True)
class Shortage:
    """A limit that a part exceeds. `fits_s`: seconds of the part that it allows."""

    limit: str
    fits_s: float
    is_context: bool = False


@dataclass(frozen=True, slots=True)
class VideoLength:
    """`frames`: those that are taken. `fps`: the rate at which a shorter video would have them.

    `sound_s`: of its audio track.
    """

    frames: int
    seconds: float
    fps: float
    sound_s: float = 0.0

    def fits_s(self, share: float) -> int:
        """Seconds that have at most this share of the frames."""
        return int(min(self.seconds, self.frames / self.fps) * max(share, 0))


def check_audio(part: Part, seconds: float, policy: MediaPolicy, budget: Budget) -> None:
    """Raises BadRequest if an audio part of this length is over a limit."""
    tokens, shortages = _context_shortage(part, seconds, budget)
    shortages += _shared_shortages(seconds, policy, budget)
    if seconds > policy.audio_seconds:
        if not shortages:
            raise too_long_error(part, seconds, policy.audio_seconds)
        limit = f"{policy.audio_seconds:g} s of one part ({flag('audio_seconds')})"
        shortages.append(Shortage(limit, policy.audio_seconds))
    if shortages:
        raise _error(part, seconds, tokens, shortages)


def check_audio_tokens(part: Part, seconds: float, budget: Budget) -> None:
    """Raises BadRequest if audio that is decoded is over the context. A file can state less than it holds."""
    tokens, shortages = _context_shortage(part, seconds, budget)
    if shortages:
        raise _error(part, seconds, tokens, shortages)


def check_video(
    part: Part, length: VideoLength, decoded_bytes: int, tokens: int, policy: MediaPolicy, budget: Budget
) -> None:
    """Raises BadRequest if a video is over the context or several other limits, and names all of them."""
    shortages = _video_context_shortage(part, length, tokens, budget)
    if decoded_bytes > budget.decoded_bytes_left:
        limit = f"{policy.request_decoded_bytes / _MIB:g} MiB decoded ({flag('request_decoded_bytes')})"
        shortages.append(Shortage(limit, length.fits_s(budget.decoded_bytes_left / decoded_bytes)))
    if length.sound_s > budget.audio_seconds_left:
        limit = f"{policy.request_audio_seconds:g} s of audio in a request ({flag('request_audio_seconds')})"
        shortages.append(Shortage(limit, budget.audio_seconds_left))
    # A single limit of the request is refused where it is charged.
    if len(shortages) > 1 or (shortages and shortages[0].is_context):
        raise _error(part, length.seconds, tokens, shortages)


def _video_context_shortage(part: Part, length: VideoLength, tokens: int, budget: Budget) -> list[Shortage]:
    """Raises BadRequest for too many frames of a client's own number: a shorter video would have as many."""
    if budget.room is None:
        return []
    left = budget.room.left_for(part.source.param)
    budget.room.take(part.source.param, tokens)
    if tokens <= left:
        return []
    limit = f"the model's context of {budget.room.context_tokens:,} tokens"
    if part.source.frames is not None:
        raise BadRequest(
            f"{part.name} takes {tokens:,} tokens in {length.frames} frames; that exceeds {limit}. "
            f"{max(left, 0):,} are left for it. Lower nframes or max_pixels.",
            param=part.source.param,
            code=CONTEXT_CODE,
        )
    return [Shortage(limit, length.fits_s(left / tokens), is_context=True)]


def check_image(part: Part, tokens: int, budget: Budget) -> None:
    """Raises BadRequest if an image is over what is left of the context."""
    if budget.room is None:
        return
    left = budget.room.left_for(part.source.param)
    budget.room.take(part.source.param, tokens)
    if tokens > left:
        raise BadRequest(
            f"{part.name} takes {tokens:,} tokens; of the model's context of {budget.room.context_tokens:,} "
            f"tokens {max(left, 0):,} are left for it. Send fewer or smaller images.",
            param=part.source.param,
            code=CONTEXT_CODE,
        )


def _context_shortage(part: Part, seconds: float, budget: Budget) -> tuple[int, list[Shortage]]:
    """The tokens of an audio part, and the shortage if they are over what is left of the context."""
    room = budget.room
    if room is None:
        return 0, []
    tokens, left = room.audio_tokens(seconds), room.left_for(part.source.param)
    room.take(part.source.param, tokens)
    if tokens <= left:
        return tokens, []
    limit = f"the model's context of {room.context_tokens:,} tokens"
    return tokens, [Shortage(limit, room.audio_seconds_for(left), is_context=True)]


def _shared_shortages(seconds: float, policy: MediaPolicy, budget: Budget) -> list[Shortage]:
    found = []
    if seconds > budget.audio_seconds_left:
        limit = f"{policy.request_audio_seconds:g} s of audio in a request ({flag('request_audio_seconds')})"
        found.append(Shortage(limit, budget.audio_seconds_left))
    if seconds * _SECOND_BYTES > budget.decoded_bytes_left:
        limit = f"{policy.request_decoded_bytes / _MIB:g} MiB decoded ({flag('request_decoded_bytes')})"
        found.append(Shortage(limit, budget.decoded_bytes_left / _SECOND_BYTES))
    return found


def _error(part: Part, seconds: float, tokens: int, shortages: list[Shortage]) -> BadRequest:
    *first, last = [shortage.limit for shortage in shortages]
    exceeds = f"{', '.join(first)} and {last}" if first else last
    fits_s = max(min(shortage.fits_s for shortage in shortages), 0)
    got = f"lasts {seconds:.0f} s" + (f" and takes {tokens:,} tokens" if tokens else "")
    is_context = any(shortage.is_context for shortage in shortages)
    others = len(shortages) - is_context
    raising = f" or raise the limits ({flag('long')} raises those of long media together)" if others else ""
    return BadRequest(
        f"{part.name} {got}; that exceeds {exceeds}. {fits_s:.0f} s of it would fit: send less{raising}.",
        param=part.source.param,
        code=CONTEXT_CODE if is_context else "media_limit_exceeded",
    )
