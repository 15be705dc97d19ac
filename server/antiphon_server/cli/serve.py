"""`antiphon serve`: check the machine and the checkpoint, then serve until a signal."""

from __future__ import annotations

import os
from collections.abc import Sequence

from antiphon_server.cli.settings_flags import load_settings, settings_parser
from antiphon_server.config.parser import FlagParser
from antiphon_server.config.sources import KEY_VARIABLE


def make_parser() -> FlagParser:
    return settings_parser("serve", "Serve a model over the OpenAI-compatible API.")


def run(argv: Sequence[str]) -> int:
    parser = make_parser()
    settings = load_settings(parser, parser.parse(argv)).settings
    # The settings keep hashes. The engines' processes would inherit the keys themselves.
    os.environ.pop(KEY_VARIABLE, None)
    from antiphon_server.process.memory import tune_malloc
    from antiphon_server.process.model_source import with_local_model
    from antiphon_server.process.preflight import check_before_loading, check_machine, listen

    tune_malloc()
    check_machine(settings)
    settings = with_local_model(settings)
    check_before_loading(settings)
    server = settings.server
    with listen(server.host, server.port, server.timeouts.stalled_client_s) as sock:
        from antiphon_server.process.serve import run as serve

        return serve(settings, sock)
