"""Recordings written down by a server, one after the other: to standard output, or to a file each."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from antiphon_server.client.connection import ServerConnection
from antiphon_server.client.formats import TRANSCRIPT_SUFFIXES
from antiphon_server.client.progress import Bar
from antiphon_server.client.terminal import write
from antiphon_server.exits import ExitCode, StartupError, print_error

# The first of these that the server lists is used, or its only model. Only Whisper writes all formats.
MODELS = ("whisper-1",)
_PATH = "/audio/transcriptions"


@dataclass(frozen=True, slots=True)
class TranscriptOptions:
    """`form`: a key of `TRANSCRIPT_SUFFIXES`. `folder`: None for standard output."""

    form: str
    folder: Path | None = None
    language: str | None = None
    prompt: str | None = None


class Transcripts:
    """A file that the server refuses costs its own transcript alone."""

    def __init__(self, connection: ServerConnection, options: TranscriptOptions) -> None:
        self._connection = connection
        self._options = options
        self._model = connection.choose_model(MODELS)

    def write(self, paths: Sequence[Path], bar: Bar) -> ExitCode:
        """The exit code: of the first refusal, if there was one. Raises `StartupError` for what ends all."""
        code = ExitCode.OK
        sizes = [_size(path) for path in paths]
        names = _names(paths)
        before = 0
        for number, (path, size) in enumerate(zip(paths, sizes, strict=True), 1):
            name = f"{path.name} ({number} of {len(paths)})" if len(paths) > 1 else path.name

            def uploaded(count: int, name: str = name, size: int = size, before: int = before) -> None:
                # The server hears while it reads, and says nothing before it is done.
                state = "sending" if count < size else "listening"
                bar.show(f"{state}: {name}", before + count / 2, sum(sizes))

            try:
                text = self._transcribe(path, uploaded)
            except StartupError as error:
                if error.code is not ExitCode.REFUSED:
                    raise
                print_error(StartupError(error.code, f"{path}: {error.args[0]}", error.hint))
                code = code or error.code
            else:
                self._keep(path, text, several=len(paths) > 1, name=names[number - 1])
            before += size
        return code

    def _transcribe(self, path: Path, uploaded: Callable[[int], None]) -> str:
        options = self._options
        given = {"language": options.language, "prompt": options.prompt}
        fields = {"model": self._model, "response_format": options.form}
        fields |= {name: value for name, value in given.items() if value}
        with (
            _CountedFile(path, uploaded) as file,
            self._connection.post(_PATH, data=fields, files={"file": (path.name, file)}) as response,
        ):
            return response.read().decode(errors="replace")

    def _keep(self, path: Path, text: str, *, several: bool, name: str) -> None:
        text = text if text.endswith("\n") else f"{text}\n"
        folder = self._options.folder
        if folder is None:
            write(f"{path}:\n{text}" if several and self._options.form == "text" else text)
            return
        target = folder / f"{name}{TRANSCRIPT_SUFFIXES[self._options.form]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StartupError(ExitCode.FAULT, f"{target} cannot be written: {error.strerror}") from None
        write(f"{target}\n")


class _CountedFile(io.FileIO):
    """A file that reports how much of it has been read."""

    def __init__(self, path: Path, uploaded: Callable[[int], None]) -> None:
        super().__init__(path)
        self._uploaded = uploaded

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size) or b""
        self._uploaded(self.tell())
        return data


def _names(paths: Sequence[Path]) -> list[str]:
    """Of their transcripts, no two the same: `a.wav` and `a.mp3` have one each, so have two `a.wav`."""
    stems = [path.stem for path in paths]
    names: list[str] = []
    for path in paths:
        name = first = path.stem if stems.count(path.stem) == 1 else path.name
        number = 2
        while name in names:
            name, number = f"{first}-{number}", number + 1
        names.append(name)
    return names


def _size(path: Path) -> int:
    """Raises `StartupError` if it cannot be read: before anything is sent."""
    try:
        with path.open("rb") as file:
            return file.seek(0, io.SEEK_END)
    except OSError as error:
        raise StartupError(ExitCode.USAGE, f"{path} cannot be read: {error.strerror}") from None
