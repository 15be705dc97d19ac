"""The messages between the server and a decoder process, as JSON.

A job goes to the worker. The worker asks with `Dimensions`, gets the `Size` to decode to, and ends with a
`DecodeReport`. A hostile file may control the worker, so everything that it sends is validated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar, get_args

Failure = Literal[
    "damaged",
    "too_many_pixels",
    "aspect_ratio_exceeded",
    "too_long",
    "too_few_frames",
    "no_audio",
    "no_video",
    "unsupported_audio",
    "unsupported_video",
]

_CODEC_NAME = re.compile(r"[a-z0-9_.-]{0,40}")
_MAX_COUNT = 1 << 40
SAMPLE_BYTES = 4
RATE_HZ = 16_000
# Seconds of audio, and of video, that a decoder must at least decode in a second. Slow machines decode more.
_LEAST_SPEED = 25
_LEAST_VIDEO_SPEED = 4


@dataclass(frozen=True, slots=True)
class AudioJob:
    """Decode the first audio track to mono float32 at 16 kHz, at most `max_samples` samples.

    A file of `max_packets` or more packets is refused, because each takes time and memory. `demuxer` and
    `decoders` are libav's names; no other demuxer or decoder is used. With `piece_samples`, the output holds
    one piece of at most that length at a time, and the server takes each (`Piece`) before the next.
    """

    demuxer: str
    decoders: tuple[str, ...]
    max_samples: int
    max_packets: int
    output_bytes: int
    piece_samples: int | None = None


@dataclass(frozen=True, slots=True)
class LengthJob:
    """Decode nothing: report the `seconds` of the first audio track.

    They are the file's own statement if that is at most `max_seconds`. Otherwise the packets are counted, up
    to the first that is beyond.
    """

    demuxer: str
    decoders: tuple[str, ...]
    max_seconds: float
    max_packets: int
    output_bytes: int = 0


@dataclass(frozen=True, slots=True)
class VideoJob:
    """Decode evenly spaced frames of the first video track and, with `use_audio`, the first audio track.

    The output holds one `Piece` at a time: RGB frames of one size, in at most `piece_bytes` or a single one,
    or at most `piece_samples` of mono float32 audio at 16 kHz. `fps`: the wanted frame rate; a long video
    gets a lower one, so that there are at most `max_frames`, and a short one a higher one, for `min_frames`.
    `frames`: exactly this number instead. A video longer than `max_seconds` or with frames over
    `source_pixels` is refused before it is decoded.
    """

    demuxer: str
    decoders: tuple[str, ...]
    use_audio: bool
    max_seconds: float
    max_packets: int
    fps: float
    min_frames: int
    max_frames: int
    frames: int | None
    source_pixels: int
    aspect_ratio: float
    output_bytes: int
    piece_samples: int
    piece_bytes: int


@dataclass(frozen=True, slots=True)
class ImageJob:
    """Decode the images that lie one after the other in the input to RGB rows of one size.

    `lengths` and `formats` (Pillow's names): one entry per image. Each image is turned upright, put on a
    white background and scaled to the size that the server chooses for the first one. An image with more than
    `source_pixels`, or with a longer side over `aspect_ratio` times the shorter one, is refused by its
    header.
    """

    lengths: tuple[int, ...]
    formats: tuple[str, ...]
    output_bytes: int
    source_pixels: int
    aspect_ratio: float


@dataclass(frozen=True, slots=True)
class ProbeJob:
    """Decode nothing; the worker writes the layers that confine it (`Layers`) into its log."""

    output_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The content of a file: `frames` of `height` x `width` square pixels, upright, and audio `samples`.

    `seconds`: the length of a video's picture. Its frame rate is as in `DecodeReport`.
    """

    frames: int
    height: int
    width: int
    samples: int = 0
    seconds: float = 0.0
    rate_numerator: int = 0
    rate_denominator: int = 1


@dataclass(frozen=True, slots=True)
class Piece:
    """The next `samples` of audio, or the next `frames` of video, are at the start of the output."""

    samples: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """The size in pixels to which all frames are scaled."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """The result of a job.

    The output had `frames` of `height` x `width` pixels, and `samples` of audio. The frame rate is
    `rate_numerator` / `rate_denominator` per second. With a `failure`: the size that the file states, the
    `index` of the image in its job, the `seconds` of the file, the unsupported `codec`.
    """

    failure: Failure | None = None
    frames: int = 0
    height: int = 0
    width: int = 0
    samples: int = 0
    rate_numerator: int = 0
    rate_denominator: int = 1
    seconds: float = 0.0
    index: int = 0
    codec: str = ""


class DecodeRefused(Exception):
    """Raised in a worker if the file is not decoded. `facts`: fields of the `DecodeReport`."""

    def __init__(self, failure: Failure, **facts: Any) -> None:
        super().__init__(failure)
        self.failure = failure
        self.facts = facts


Job = AudioJob | LengthJob | VideoJob | ImageJob | ProbeJob
TAKEN = b"taken"
ChooseSize = Callable[[Dimensions], Size]
Message = TypeVar("Message", Dimensions, Piece, DecodeReport)
_JOBS: dict[str, type[Job]] = {kind.__name__: kind for kind in get_args(Job)}
_COUNTS = (
    "frames",
    "height",
    "width",
    "samples",
    "rate_numerator",
    "rate_denominator",
    "index",
)


def longest_decoding_s(samples: int) -> float:
    """Seconds of time and of CPU time that decoding may take for these samples, besides those of any job."""
    return samples / (RATE_HZ * _LEAST_SPEED)


def longest_video_decoding_s(job: VideoJob, share: float = 1.0) -> float:
    """As `longest_decoding_s`, for a `share` of the frames of a video."""
    return share * job.max_seconds / _LEAST_VIDEO_SPEED


def encode_message(message: Job | Dimensions | Piece | Size | DecodeReport) -> bytes:
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode()


def decode_job(message: bytes) -> Job:
    """A job from `encode_message`."""
    fields: dict[str, Any] = json.loads(message)
    kind = _JOBS[fields.pop("kind")]
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return kind(**given)


def decode_size(message: bytes) -> Size:
    """A size from `encode_message`."""
    fields = json.loads(message)
    return Size(fields["height"], fields["width"])


def decode_dimensions(message: bytes) -> Dimensions | None:
    """The dimensions that a worker sent; None if the message is invalid."""
    found = _parse(message, Dimensions)
    if found is None or not _is_length(found.seconds):
        return None
    counts = (found.frames, found.height, found.width, found.rate_denominator)
    others = (found.samples, found.rate_numerator)
    return found if all(map(_is_count, (*counts, *others))) and all(counts) else None


def decode_piece(message: bytes) -> Piece | None:
    """The piece that a worker announced; None if the message is invalid."""
    piece = _parse(message, Piece)
    is_one = piece is not None and _is_count(piece.samples) and _is_count(piece.frames)
    return piece if piece and is_one and bool(piece.samples) != bool(piece.frames) else None


def decode_report(message: bytes) -> DecodeReport | None:
    """The report that a worker wrote; None if the message is invalid."""
    report = _parse(message, DecodeReport)
    return report if report and _is_valid(report) else None


def _parse(message: bytes, kind: type[Message]) -> Message | None:
    try:
        fields = json.loads(message)
        return kind(**fields) if fields.pop("kind") == kind.__name__ else None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def _is_valid(report: DecodeReport) -> bool:
    return (
        all(_is_count(getattr(report, name)) for name in _COUNTS)
        and report.rate_denominator > 0
        and _is_length(report.seconds)
        and report.failure in (None, *get_args(Failure))
        and isinstance(report.codec, str)
        and _CODEC_NAME.fullmatch(report.codec) is not None
    )


def _is_length(seconds: object) -> bool:
    return isinstance(seconds, float) and 0 <= seconds < _MAX_COUNT


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_COUNT
