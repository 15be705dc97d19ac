"""What a decoder is told to do, and the refusal it can answer with: plain data, shared with the worker.

Flows from `sandbox` through `fork_server` to `decode_worker` as JSON, with the input and the outputs as
file descriptors beside it.
Imports nothing but the standard library.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Trouble = Literal["damaged", "too_many_pixels", "too_long_a_side"]


@dataclass(frozen=True, slots=True)
class FfmpegJob:
    """Run ffmpeg: the input is descriptor 0, the output descriptor 3 and no larger than `output_bytes`."""

    argv: tuple[str, ...]
    output_bytes: int


@dataclass(frozen=True, slots=True)
class Fit:
    """Scale into `min_pixels` to `max_pixels`, then up until no side is under `min_side_pixels`.

    The aspect is kept; sides are rounded down to a multiple of `step_pixels`.
    """

    min_pixels: int
    max_pixels: int
    min_side_pixels: int
    step_pixels: int


@dataclass(frozen=True, slots=True)
class PictureJob:
    """Decode pictures that lie one after the other in the input, and write them as RGB rows to one output.

    `lengths` and `formats` (Pillow's names), one per picture. The first picture is turned upright, laid on
    white and scaled by `fit`; the others are brought to its size. A picture of more than `source_pixels`, or
    longer than `aspect_ratio` allows, is refused from its header.
    """

    lengths: tuple[int, ...]
    formats: tuple[str, ...]
    output_bytes: int
    source_pixels: int
    aspect_ratio: float
    fit: Fit


@dataclass(frozen=True, slots=True)
class PictureReport:
    """What became of a `PictureJob`: the size of every picture, or the `index` of the one that was refused.

    With `trouble`, `height` and `width` are those the file claims.
    """

    height: int
    width: int
    trouble: Trouble | None = None
    index: int = 0


@dataclass(frozen=True, slots=True)
class ProbeJob:
    """Decode nothing: the worker reports which layers confine it (`Layers`, in its log)."""

    output_bytes: int = 0


Job = FfmpegJob | PictureJob | ProbeJob


def encode(job: Job) -> bytes:
    return json.dumps({"kind": type(job).__name__, **asdict(job)}).encode()


def decode(message: bytes) -> Job:
    """The reverse of `encode`."""
    fields = json.loads(message)
    kind = fields.pop("kind")
    if kind == "ProbeJob":
        return ProbeJob(**fields)
    if kind == "FfmpegJob":
        return FfmpegJob(argv=tuple(fields.pop("argv")), **fields)
    lengths, formats, fit = (fields.pop(name) for name in ("lengths", "formats", "fit"))
    return PictureJob(lengths=tuple(lengths), formats=tuple(formats), fit=Fit(**fit), **fields)


def encode_report(report: PictureReport) -> bytes:
    return json.dumps(asdict(report)).encode()


def decode_report(log: bytes) -> PictureReport | None:
    """The report in a worker's log; None where it is missing or not one."""
    try:
        fields = json.loads(log)
        report = PictureReport(**fields)
    except (ValueError, TypeError):
        return None
    sizes = (report.height, report.width, report.index)
    return report if all(isinstance(size, int) and size >= 0 for size in sizes) else None
