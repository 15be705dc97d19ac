"""A dialogue with a chat model on a terminal or in a pipe: its history, its commands, and its answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon_server.client.answer import answer_of
from antiphon_server.client.attachments import part_of, recorded_part
from antiphon_server.client.connection import ServerConnection
from antiphon_server.client.microphone import Microphone
from antiphon_server.client.player import Player, player_command
from antiphon_server.client.terminal import write
from antiphon_server.exits import StartupError, print_error

_HELP = """/file PATH   send a picture, recording, clip or text with the next message
/reset       forget the dialogue
/help        show this
/quit        end (or Ctrl-D); Ctrl-C ends an answer"""


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """`message`: the only one of the dialogue, if given. `files`: sent with the first message.

    `voice`: None for answers in text. `mic`: messages may be spoken.
    """

    message: str | None = None
    system: str | None = None
    files: tuple[Path, ...] = ()
    voice: str | None = None
    mic: bool = False
    max_tokens: int | None = None


class Dialogue:
    """It reads standard input and writes to standard output. Raises `StartupError`, except on a terminal."""

    def __init__(self, connection: ServerConnection, options: ChatOptions) -> None:
        self._connection = connection
        self._options = options
        self._parts: list[dict[str, Any]] = [part_of(path) for path in options.files]
        self._microphone = Microphone() if options.mic else None
        if options.voice is not None:
            player_command()
        self._model = connection.choose_model()
        self._history: list[dict[str, Any]] = []
        self._is_terminal = sys.stdin.isatty() and sys.stdout.isatty()

    def run(self) -> None:
        if self._options.message is not None:
            self._ask(self._options.message)
            return
        if self._is_terminal:
            # It gives `input` editing and recall of earlier lines.
            import readline  # noqa: F401

            spoken = "Enter to speak, " if self._microphone else ""
            write(f"{self._model}: {spoken}/help for the commands\n")
        for line in self._lines():
            if line == "/quit":
                return
            try:
                self._take(line)
            except StartupError as error:
                if not self._is_terminal:
                    raise
                print_error(error)

    def _lines(self) -> Iterator[str]:
        if not self._is_terminal:
            yield from (line.strip() for line in sys.stdin)
            return
        while True:
            try:
                yield input("> ").strip()
            except EOFError:
                write("\n")
                return
            except KeyboardInterrupt:
                write("\n")

    def _take(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        if command == "/help":
            write(f"{_HELP}\n")
        elif command == "/reset":
            self._history.clear()
            self._parts.clear()
        elif command == "/file":
            self._parts.append(part_of(Path(rest.strip()).expanduser()))
        elif line:
            self._ask(line)
        elif self._microphone is not None:
            self._parts.append(recorded_part(self._microphone.record(self._wait_for_enter)))
            self._ask("")

    def _wait_for_enter(self) -> None:
        """What is recorded ends with the next line, or with the input."""
        if self._is_terminal:
            write("speak, then Enter ")
        sys.stdin.readline()

    def _ask(self, text: str) -> None:
        """Sends one message. It and its answer become history, unless the request fails."""
        content = [*self._parts, {"type": "text", "text": text}] if text else self._parts
        message = {"role": "user", "content": text if not self._parts else content}
        answer = self._answer([*self._history, message])
        self._parts = []
        self._history += [message, {"role": "assistant", "content": answer}]

    def _answer(self, messages: Sequence[dict[str, Any]]) -> str:
        """Shows and plays an answer. Ctrl-C on a terminal ends it where it is."""
        text = ""
        try:
            with ExitStack() as sound, closing(answer_of(self._connection, self._body(messages))) as pieces:
                player: Player | None = None
                for piece in pieces:
                    text += piece.text
                    write(piece.text)
                    if piece.pcm:
                        player = player or sound.enter_context(Player(piece.rate_hz))
                        player.write(piece.pcm)
                write("\n")
        except KeyboardInterrupt:
            if not self._is_terminal:
                raise
            write("\n")
        return text

    def _body(self, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
        options = self._options
        system = [{"role": "system", "content": options.system}] if options.system else []
        body: dict[str, Any] = {"model": self._model, "messages": [*system, *messages]}
        if options.max_tokens is not None:
            body["max_tokens"] = options.max_tokens
        if options.voice is not None:
            body["modalities"] = ["text", "audio"]
            body["audio"] = {"voice": options.voice, "format": "pcm16"}
        return body
