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
    from antiphon_server.observability.spans import RequestSpans, Value


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
    spans: RequestSpans | None = None
    voice_activity: SpeechScorer = field(default_factory=SpeechScorer)


def span_values(service: Service) -> dict[str, Value]:
    """What each span of a request says, in the names of OpenTelemetry for generative models."""
    model = service.settings.engine.served_model_name or service.engine.card.name
    return {"gen_ai.provider.name": "antiphon", "gen_ai.request.model": model}
