"""The admission controller's figures at one moment, for `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from antiphon_server.admission.class_usage import Usage
from antiphon_server.admission.resources import Resources


@dataclass(frozen=True, slots=True)
class Load:
    """`admitted`, `refused` and `fell_back` count since the start of the server.

    `running`: what running requests hold, of `total`. `live_limit`: how many live streams the Talker can
    generate in real time; None until it is measured. `frame_s`: duration of a Talker step with the streams
    that run. `prompt_tokens`: not read yet, at `prefill_rate` tokens per second (0 until it is measured).
    `usage`: by class of the key.
    """

    running: Resources
    total: Resources
    waiting_text: int
    waiting_speech: int
    queued_media_seconds: float
    media_bytes: int
    live_limit: int | None = None
    frame_s: float = 0.0
    prompt_tokens: int = 0
    prefill_rate: float = 0.0
    keys: int = 0
    admitted: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    fell_back: int = 0
    usage: Mapping[str, Usage] = field(default_factory=dict)
