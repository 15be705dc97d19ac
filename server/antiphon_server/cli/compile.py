"""`antiphon compile`: compile the text model for later starts on this machine's CPU."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Sequence

from antiphon_executor.interface.errors import OperatorError
from antiphon_server.cli.settings_flags import load_settings, settings_parser
from antiphon_server.config.parser import FlagParser
from antiphon_server.exits import ExitCode, StartupError

_MODULE = "antiphon_executor.engine.compile_ahead"


def make_parser() -> FlagParser:
    return settings_parser(
        "compile",
        "Compile the text model for this machine's CPU. Later starts of `antiphon serve` with the same "
        "settings use it.",
        ("model", "engine"),
    )


def run(argv: Sequence[str]) -> int:
    parser = make_parser()
    settings = load_settings(parser, parser.parse(argv)).settings
    from antiphon_server.process.memory import without_collection
    from antiphon_server.process.model_source import with_local_model
    from antiphon_server.process.preflight import check_checkpoint

    engine = with_local_model(settings).engine
    check_checkpoint(engine.model, engine.speech)
    began = time.monotonic()
    try:
        # The executor loads torch and vLLM, which takes seconds.
        with without_collection():
            executor = importlib.import_module(_MODULE)
        asyncio.run(executor.compile_ahead(engine, _show))
    except OperatorError as error:
        raise StartupError(ExitCode.BAD_CONFIG, str(error)) from None
    _show(f"compiled in {time.monotonic() - began:.0f} s")
    return ExitCode.OK


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
