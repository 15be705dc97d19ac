"""`antiphon transcribe`: recordings written down by any OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from antiphon_server.client.endpoint import add_endpoint_flags, read_endpoint
from antiphon_server.client.formats import TRANSCRIPT_SUFFIXES
from antiphon_server.config.parser import FlagParser


def make_parser() -> FlagParser:
    parser = FlagParser("antiphon transcribe", "Write down what is said in recordings.", "FILE ...")
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="FILE", help="recordings")
    add(
        "--format",
        choices=tuple(TRANSCRIPT_SUFFIXES),
        default="text",
        help="text srt vtt json verbose_json [text]",
    )
    add("-o", "--output", type=Path, metavar="DIR", help="write a file each to DIR [standard output]")
    add("--language", metavar="CODE", help="language that is spoken, such as en")
    add("--prompt", metavar="TEXT", help="text before the recording, or words to expect")
    add_endpoint_flags(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    parser = make_parser()
    given = parser.parse(argv)
    endpoint = read_endpoint(parser, given)
    from antiphon_server.client.connection import ServerConnection
    from antiphon_server.client.progress import progress_bar
    from antiphon_server.client.transcripts import TranscriptOptions, Transcripts

    options = TranscriptOptions(given.format, given.output, given.language, given.prompt)
    with ServerConnection(endpoint) as connection:
        transcripts = Transcripts(connection, options)
        with progress_bar() as bar:
            return transcripts.write(given.files, bar)
