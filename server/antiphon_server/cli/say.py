"""`antiphon say`: a text read aloud by any OpenAI-compatible server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from antiphon_server.client.endpoint import add_endpoint_flags, read_endpoint
from antiphon_server.client.formats import SPEECH_FORMATS
from antiphon_server.config.parser import FlagParser


def make_parser() -> FlagParser:
    parser = FlagParser("antiphon say", "Read a text aloud, into a file or through the speakers.", "TEXT")
    add = parser.add_argument
    add("text", nargs="?", metavar="TEXT", help="what to read; - reads standard input")
    add("--file", type=Path, metavar="PATH", help="read this text file")
    add("-o", "--output", type=Path, metavar="FILE", help=f"write to FILE: {' '.join(SPEECH_FORMATS)}")
    add("--voice", metavar="NAME", help="voice to read with [the server's default]")
    add("--speed", type=float, metavar="N", help="0.25 to 4 [1]")
    add("--instructions", metavar="TEXT", help="how to speak, if the model takes instructions")
    add_endpoint_flags(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    parser = make_parser()
    given = parser.parse(argv)
    endpoint = read_endpoint(parser, given)
    if given.output is not None and given.output.suffix.lower() not in SPEECH_FORMATS:
        parser.error(f"{given.output} has none of the suffixes {' '.join(SPEECH_FORMATS)}")
    text = _text(parser, given)
    from antiphon_server.client.connection import ServerConnection
    from antiphon_server.client.player import player_command
    from antiphon_server.client.progress import progress_bar
    from antiphon_server.client.speech import Speech, SpeechOptions

    if given.output is None:
        player_command()
    options = SpeechOptions(given.voice, given.speed, given.instructions)
    with ServerConnection(endpoint) as connection:
        speech = Speech(connection, text, options)
        with progress_bar() as bar:
            if given.output is None:
                speech.play(bar)
            else:
                speech.save(given.output, bar)
    if given.output is not None:
        print(given.output)  # noqa: T201
    return 0


def _text(parser: FlagParser, given: argparse.Namespace) -> str:
    if (given.text is None) == (given.file is None):
        parser.error("give either TEXT or --file")
    try:
        if given.file is not None:
            text = given.file.read_text(encoding="utf-8")
        else:
            text = sys.stdin.read() if given.text == "-" else given.text
    except (OSError, UnicodeDecodeError):
        parser.error(f"{given.file or 'standard input'} cannot be read as text")
    return text.strip() or parser.error("the text is empty")
