"""What a decoder process is asked, asks and reports: plain data, shared between the server and the worker.

In: a job. Out: `Found`, before pixels are decoded, which the server answers with the size to decode to; at
the end a `Report`. All flows as JSON; a worker may have been taken over, so what it says is checked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar, get_args

Trouble = Literal[
    "damaged",
    "too_many_pixels",
    "too_long_a_side",
    "too_long",
    "no_sound",
    "no_picture",
    "foreign_sound",
    "foreign_picture",
]

_CODEC_NAME = re.compile(r"[a-z0-9_.-]{0,40}")
_MOST = 1 << 40


@dataclass(frozen=True, slots=True)
class SoundJob:
    """Decode the first track of sound to mono float32 at 16 kHz, at most `most_samples` of it.

    A file of `most_packets` or more is refused: each takes time and memory, whatever it holds.
    `demuxer` and `decoders` are libav's names; nothing else is opened.
    """

    demuxer: str
    decoders: tuple[str, ...]
    most_samples: int
    most_packets: int
    output_bytes: int


@dataclass(frozen=True, slots=True)
class VideoJob:
    """Decode evenly spaced frames of the first track of pictures and, with `use_audio`, the first of sound.

    Written to one output: RGB frames of one size, then, from a multiple of 16 bytes on, mono float32 samples
    at 16 kHz. `fps` is wanted; a long video gets fewer, so that there are `most_frames` at most. A video
    longer than `most_seconds`, or with frames of more than `source_pixels`, is refused before it is decoded.
    """

    demuxer: str
    decoders: tuple[str, ...]
    use_audio: bool
    most_seconds: float
    most_packets: int
    fps: float
    most_frames: int
    source_pixels: int
    aspect_ratio: float
    output_bytes: int


@dataclass(frozen=True, slots=True)
class PictureJob:
    """Decode pictures that lie one after the other in the input, and write them as RGB rows to one output.

    `lengths` and `formats` (Pillow's names), one per picture. Each is turned upright, laid on white and
    scaled to the size that the server names for the first. A picture of more than `source_pixels`, or longer
    than `aspect_ratio` allows, is refused from its header.
    """

    lengths: tuple[int, ...]
    formats: tuple[str, ...]
    output_bytes: int
    source_pixels: int
    aspect_ratio: float


@dataclass(frozen=True, slots=True)
class ProbeJob:
    """Decode nothing: the worker reports which layers confine it (`Layers`, in its log)."""

    output_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What a file turns out to hold: `frames` of `height` x `width` pixels, upright and with square pixels,
    and `samples` of sound.
    """

    frames: int
    height: int
    width: int
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """The size that all frames are scaled to."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a job.

    `frames` of `height` x `width` pixels lie in the output, and `samples` of sound from `sound_at` on.
    `rate_numerator` / `rate_denominator`: frames a second. With `trouble`: the size that the file claims, the
    `index` of the picture in its job, `seconds` of the file, the name of a `codec` that is not opened.
    """

    trouble: Trouble | None = None
    frames: int = 0
    height: int = 0
    width: int = 0
    samples: int = 0
    sound_at: int = 0
    rate_numerator: int = 0
    rate_denominator: int = 1
    seconds: float = 0.0
    index: int = 0
    codec: str = ""


class Refused(Exception):
    """Raised in a worker: the file cannot be decoded. `facts` are fields of its `Report`."""

    def __init__(self, trouble: Trouble, **facts: Any) -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.facts = facts


Job = SoundJob | VideoJob | PictureJob | ProbeJob
Ask = Callable[[Found], Size]
Message = TypeVar("Message", Found, Report)
_JOBS: dict[str, type[Job]] = {kind.__name__: kind for kind in (SoundJob, VideoJob, PictureJob, ProbeJob)}
_COUNTS = ("frames", "height", "width", "samples", "sound_at", "rate_numerator", "rate_denominator", "index")


def encode(message: Job | Found | Size | Report) -> bytes:
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode()


def decode(message: bytes) -> Job:
    """A job as `encode` wrote it."""
    fields: dict[str, Any] = json.loads(message)
    kind = _JOBS[fields.pop("kind")]
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return kind(**given)


def decode_size(message: bytes) -> Size:
    """A size as `encode` wrote it."""
    fields = json.loads(message)
    return Size(fields["height"], fields["width"])


def decode_found(message: bytes) -> Found | None:
    """What a worker found; None where the message is none."""
    found = _read(message, Found)
    counts = (found.frames, found.height, found.width) if found else ()
    return found if found and all(map(_is_count, (*counts, found.samples))) and all(counts) else None


def decode_report(message: bytes) -> Report | None:
    """A worker's report; None where the message is none."""
    report = _read(message, Report)
    return report if report and _is_sound(report) else None


def _read(message: bytes, kind: type[Message]) -> Message | None:
    try:
        fields = json.loads(message)
        return kind(**fields) if fields.pop("kind") == kind.__name__ else None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def _is_sound(report: Report) -> bool:
    return (
        all(_is_count(getattr(report, name)) for name in _COUNTS)
        and report.rate_denominator > 0
        and isinstance(report.seconds, float)
        and 0 <= report.seconds < _MOST
        and report.trouble in (None, *get_args(Trouble))
        and isinstance(report.codec, str)
        and _CODEC_NAME.fullmatch(report.codec) is not None
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST
