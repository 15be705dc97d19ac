"""Reads and validates a voice file (JSON; ten seconds of reference audio are about 2,000 codes)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from antiphon_executor.interface.errors import OperatorError

MAX_FILE_BYTES = 1 << 20
MAX_FRAMES = 750  # one minute of reference audio

_Line = Annotated[str, Field(min_length=1, max_length=200)]
_Text = Annotated[str, Field(max_length=4_000)]
_Code = Annotated[int, Field(strict=True, ge=0, lt=1 << 15)]


class VoiceError(OperatorError):
    """A voice file cannot be used. The message names the file and the problem."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"the voice {file} cannot be used: {problem}")


class VoiceFile(BaseModel):
    """The Talker's system prompt: `opening`, reference frames (`codes`), `closing`; one of them is required.

    `language`: a BCP 47 tag. `licence`: the licence of the voice. `codes`: [frames][groups].
    `speech_language`: the language that the Talker always speaks, a key of `talker_language_id`. Example:

        {"name": "Ada", "language": "en", "licence": "CC0-1.0", "opening": "You speak calmly.",
         "codes": [[12, 7, ...], ...], "closing": "", "default": true}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Line
    language: str = Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)
    licence: _Line
    opening: _Text = ""
    codes: tuple[tuple[_Code, ...], ...] = Field((), max_length=MAX_FRAMES)
    closing: _Text = ""
    speech_language: _Line | None = None
    default: bool = Field(False, strict=True)


def read_voice_file(file: Path, codebook_sizes: NDArray[np.int64]) -> VoiceFile:
    """`codebook_sizes`: number of codes per group, int64 [groups]. Raises `VoiceError`."""
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise VoiceError(file, f"it has more than {MAX_FILE_BYTES} bytes")
        voice = VoiceFile.model_validate_json(file.read_bytes())
    except OSError as error:
        raise VoiceError(file, error.strerror or "it cannot be read") from None
    except ValidationError as error:
        raise VoiceError(file, _explain(error)) from None
    if not (voice.opening or voice.codes or voice.closing):
        raise VoiceError(file, "it has neither text nor reference frames")
    _check_codes(file, voice, codebook_sizes)
    return voice


def _check_codes(file: Path, voice: VoiceFile, limits: NDArray[np.int64]) -> None:
    for number, frame in enumerate(voice.codes):
        if len(frame) != len(limits):
            raise VoiceError(
                file, f"frame {number} has {len(frame)} codes, the model has {len(limits)} groups"
            )
        for group, (code, limit) in enumerate(zip(frame, limits.tolist(), strict=True)):
            if code >= limit:
                problem = f"code {code} of group {group} in frame {number} is not below {limit}"
                raise VoiceError(file, problem)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    return f"{place}: {message}" if place else message
