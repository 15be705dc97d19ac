"""The parts of the server that every route needs, created at start-up and passed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from antiphon_server.voice_activity.scorer import SpeechScorer

if TYPE_CHECKING:
    from antiphon_executor.interface.engine import OmniEngine
    from antiphon_server.admission.controller import AdmissionController
    from antiphon_server.chat.prompt.renderer import PromptRenderer
    from antiphon_server.chat.schema.cost_estimator import SchemaCostEstimator
    from antiphon_server.chat.transcripts import Transcripts
    from antiphon_server.config.settings import Settings
    from antiphon_server.files.store import FileStore
    from antiphon_server.keys.key_ring import KeyRing
    from antiphon_server.media.loader import MediaLoader
    from antiphon_server.observability.metrics import ServerMetrics


@dataclass(frozen=True, slots=True)
class Service:
    """The server's parts. One per process; it starts and stops none of them."""

    settings: Settings
    engine: OmniEngine
    prompts: PromptRenderer
    schema_costs: SchemaCostEstimator
    media: MediaLoader
    files: FileStore
    admission: AdmissionController
    metrics: ServerMetrics
    transcripts: Transcripts
    keys: KeyRing
    voice_activity: SpeechScorer = field(default_factory=SpeechScorer)
