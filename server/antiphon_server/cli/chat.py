"""`antiphon chat`: a dialogue with a model on any OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from antiphon_server.client.endpoint import add_endpoint_flags, read_endpoint
from antiphon_server.config.parser import FlagParser


def make_parser() -> FlagParser:
    parser = FlagParser(
        "antiphon chat",
        "Talk with a model. Without MESSAGE it reads one message per line; /help lists the commands.",
        "[MESSAGE]",
    )
    add = parser.add_argument
    add("message", nargs="?", metavar="MESSAGE", help="ask only this")
    add("--file", type=Path, action="append", default=[], metavar="PATH", help="send a file; repeatable")
    add("--system", metavar="TEXT", help="instructions for the model")
    add("--voice", metavar="NAME", help="have the answers spoken in this voice")
    add("--mic", action="store_true", help="speak the messages: Enter begins and ends one")
    add("--max-tokens", type=int, metavar="N", help="limit of text tokens per answer")
    add_endpoint_flags(parser)
    return parser


def run(argv: Sequence[str]) -> int:
    parser = make_parser()
    given = parser.parse(argv)
    endpoint = read_endpoint(parser, given)
    from antiphon_server.client.connection import ServerConnection
    from antiphon_server.client.dialogue import ChatOptions, Dialogue

    options = ChatOptions(
        given.message, given.system, tuple(given.file), given.voice, given.mic, given.max_tokens
    )
    with ServerConnection(endpoint) as connection:
        Dialogue(connection, options).run()
    return 0
