"""What every route needs, made once at start-up and passed in: no module holds state of its own.

In: the parts, made by `serve.py` (or by a test). Out: one frozen bundle. It never starts or stops anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon_executor.protocol import OmniEngine
    from antiphon_server.admission import Admission
    from antiphon_server.config import Settings
    from antiphon_server.grammar_pricer import GrammarPricer
    from antiphon_server.media.loader import MediaLoader
    from antiphon_server.metrics import ServerMetrics
    from antiphon_server.prompt import PromptRenderer
    from antiphon_server.transcripts import Transcripts


@dataclass(frozen=True, slots=True)
class Service:
    """The server's parts. One per process."""

    settings: Settings
    engine: OmniEngine
    prompts: PromptRenderer
    grammars: GrammarPricer
    media: MediaLoader
    admission: Admission
    metrics: ServerMetrics
    transcripts: Transcripts
