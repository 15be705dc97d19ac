"""`antiphon sample`: write the picture, the recording and the clip that the README's examples send."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from antiphon_server.config.parser import FlagParser
from antiphon_server.exits import ExitCode, StartupError

if TYPE_CHECKING:
    from PIL.Image import Image

NAMES = ("picture.png", "question.wav", "clip.mp4")
# "What do you see?", spoken by espeak-ng 1.51 with its default voice. The GPL of espeak-ng does not cover its
# output; this recording is under Antiphon's own licence.
_QUESTION = Path(__file__).parent / "samples" / "question.wav"
_CLIP_FPS = 2
_CLIP_FRAMES = 6
_FFMPEG_S = 60


def make_parser() -> FlagParser:
    parser = FlagParser(
        "antiphon sample",
        "Write picture.png, question.wav and clip.mp4, which the README's examples send.",
        "DIR",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write to; made if it is missing")
    return parser


def run(argv: Sequence[str]) -> int:
    given = make_parser().parse(argv)
    try:
        write_samples(given.folder)
    except (OSError, subprocess.SubprocessError) as error:
        raise StartupError(ExitCode.FAULT, f"the samples cannot be written: {error}") from None
    for name in NAMES:
        print(given.folder / name)  # noqa: T201
    return 0


def write_samples(folder: Path) -> None:
    """Overwrites files of the same names. Raises `StartupError` without ffmpeg."""
    folder.mkdir(parents=True, exist_ok=True)
    _picture().save(folder / "picture.png")
    shutil.copyfile(_QUESTION, folder / "question.wav")
    _write_clip(folder / "clip.mp4")


def _picture() -> Image:
    """A red circle on white."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (192, 192), "white")
    ImageDraw.Draw(image).ellipse((50, 50, 140, 140), fill="red")
    return image


def _write_clip(path: Path) -> None:
    """Three seconds without sound: a blue square moves right."""
    from antiphon_server.media.ffmpeg import FfmpegMissing, find_ffmpeg

    try:
        ffmpeg = find_ffmpeg()
    except FfmpegMissing as error:
        raise StartupError(ExitCode.NO_FFMPEG, str(error)) from None
    with TemporaryDirectory() as place:
        for number in range(_CLIP_FRAMES):
            _frame(number).save(Path(place) / f"{number}.png")
        command = [
            str(ffmpeg),
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-framerate",
            str(_CLIP_FPS),
            "-i",
            f"{place}/%d.png",
        ]
        command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", str(path.absolute())]
        subprocess.run(command, check=True, capture_output=True, timeout=_FFMPEG_S)


def _frame(number: int) -> Image:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (128, 96), "lightblue")
    left = 14 + 13 * number
    ImageDraw.Draw(image).rectangle((left, 36, left + 23, 59), fill="blue")
    return image
