"""A text read aloud by a server: into a file, whose suffix says its format, or through a player."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from antiphon_server.client.connection import ServerConnection
from antiphon_server.client.formats import JOINABLE, SPEECH_FORMATS
from antiphon_server.client.player import Player
from antiphon_server.client.progress import Bar
from antiphon_server.client.speech_pieces import pieces_of, wav_samples_at, wav_sizes
from antiphon_server.exits import ExitCode, StartupError

# The first of these that the server lists is used, or its only model.
MODELS = ("gpt-4o-mini-tts", "tts-1", "tts-1-hd")
_PATH = "/audio/speech"
# OpenAI's own service wants a voice. Other servers have one by default.
_OPENAI_VOICE = "alloy"
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """None: the server's default."""

    voice: str | None = None
    speed: float | None = None
    instructions: str | None = None


class Speech:
    """One text, from one server."""

    def __init__(self, connection: ServerConnection, text: str, options: SpeechOptions) -> None:
        self._connection = connection
        self._text = text
        model = connection.choose_model(MODELS)
        voice = options.voice or (_OPENAI_VOICE if model in MODELS else None)
        given = {"voice": voice, "speed": options.speed, "instructions": options.instructions}
        self._body: dict[str, Any] = {"model": model, **{k: v for k, v in given.items() if v is not None}}

    def save(self, path: Path, bar: Bar) -> None:
        """The file is there when it is complete. Raises `StartupError`."""
        form = SPEECH_FORMATS[path.suffix.lower()]
        with _whole_file(path) as file:
            header_bytes = 0
            for data in self._audio(form, bar):
                header_bytes = header_bytes or len(data) if form == "wav" else 0
                file.write(data)
            if form == "wav" and header_bytes:
                for at, size in wav_sizes(header_bytes, file.tell()):
                    file.seek(at)
                    file.write(size)

    def play(self, bar: Bar) -> None:
        """Plays it while it arrives. Raises `StartupError`."""
        with ExitStack() as stack:
            player = stack.enter_context(Player())
            for data in self._audio("pcm", bar):
                player.write(data)

    def _audio(self, form: str, bar: Bar) -> Iterator[bytes]:
        """The bytes of the file. The first of a WAV file are its header."""
        pieces = pieces_of(self._text) if form in JOINABLE else [self._text]
        total = sum(map(len, pieces))
        received, read = 0, 0
        for number, piece in enumerate(pieces):
            body = {**self._body, "input": piece, "response_format": form}
            with self._connection.post(_PATH, json=body) as response:
                _check_type(response.headers.get("content-type", ""))
                chunks = response.iter_bytes()
                for data in _from_samples(chunks, keeps_header=not number) if form == "wav" else chunks:
                    received += len(data)
                    bar.show(f"{received / _MIB:.1f} MiB of speech", read, total if len(pieces) > 1 else None)
                    yield data
            read += len(piece)


def _check_type(media_type: str) -> None:
    """A page or an error that came with the status 200 is no speech."""
    if media_type.startswith(("text/", "application/json")):
        shown = media_type.partition(";")[0]
        raise StartupError(ExitCode.REFUSED, f"the server's answer is no audio: it is {shown}")


def _from_samples(chunks: Iterator[bytes], *, keeps_header: bool) -> Iterator[bytes]:
    """A WAV file as its header, if it is kept, and pieces of its samples."""
    begun = b""
    for chunk in chunks:
        begun += chunk
        at = wav_samples_at(begun)
        if at is not None:
            if keeps_header:
                yield begun[:at]
            yield begun[at:]
            yield from chunks
            return
    raise StartupError(ExitCode.REFUSED, "the server's answer is not a WAV file")


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name once it is written. No other file changes, also of a second command."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise StartupError(ExitCode.FAULT, f"{path} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
