"""The settings of one server: one frozen tree, and where each of its values came from.

In: flags, `ANTIPHON_*` variables and a YAML file, in that order of rank; below them a tier, and the defaults.
Out: `Loaded`, that is `Settings` with an origin for every value that is not a default.
It never prints a key: keys are `SecretStr`, and no error message carries the value that was refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.config.chat import ChatPolicy
from antiphon_server.config.tier import Tier
from antiphon_server.media.policy import MediaPolicy

MiB = 1 << 20
Dialect = Literal["openai", "dashscope", "union"]


def _origin(text: str) -> str:
    if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/,@A-Z]+", text):
        raise ValueError("an origin is http://host or http://host:port in small letters, without a path")
    return text


Origin = Annotated[str, AfterValidator(_origin)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Frozen):
    """What a client may send, and how much work may wait."""

    url_bytes: int = Field(8 << 10, ge=256, description="Longest request target.")
    header_bytes: int = Field(32 << 10, ge=1024, description="All headers of a request together.")
    connections: int = Field(
        0, ge=0, description="Open connections; 0 allows what the limit of open files does, at most 8192."
    )
    connections_per_address: int = Field(
        0, ge=0, description="Open connections of one address (IPv6: /64 network); 0 is half of all."
    )
    body_bytes: int = Field(96 * MiB, ge=1024, description="Largest request body, media included.")
    bodies_in_flight_bytes: int = Field(
        1024 * MiB,
        ge=1024,
        description="All bodies, each from its first byte until its media are decoded. Parsing one takes as "
        "much memory again.",
    )
    json_depth: int = Field(64, ge=4, le=128, description="Nesting of a JSON body.")
    json_nodes: int = Field(100_000, ge=100, description="Brackets, commas and strings of a JSON body.")
    queued_turns: int = Field(64, ge=0, description="Turns that may wait for a slot, text and speech each.")
    turns_per_key: int = Field(0, ge=0, description="Of one API key, running at once; 0 is no limit.")
    tokens_per_minute: int = Field(
        0, ge=0, description="Of one API key, as `usage` counts them; 0 is no limit."
    )
    audio_seconds_per_minute: float = Field(
        0, ge=0, description="Of one API key, of sound heard and spoken; 0 is no limit."
    )
    real_time: bool = Field(
        True,
        description="Further streams that somebody listens to start only while the Talker keeps up with all.",
    )
    answer_tokens: int = Field(
        1024, ge=1, description="Of an answer, so much cache is kept free at its start; more as it grows."
    )
    answer_speech_s: float = Field(
        60, gt=0, description="Of a spoken answer, so much of the Talker's cache is kept free at its start."
    )
    prefill_s: float = Field(
        30,
        ge=0,
        description="All prompts not read yet may take this long together, at the measured rate; 0 is no "
        "limit.",
    )
    queued_prompt_tokens: int = Field(
        2_000_000, ge=0, description="Tokens of all prompts not read yet; 0 is no limit."
    )
    queued_media_seconds: float = Field(
        3600, ge=0, description="Audio and video of all waiting turns together."
    )
    media_bytes: int = Field(
        4096 * MiB, ge=1 << 20, description="Decoded media of all turns together, waiting and running."
    )
    free_disk_bytes: int = Field(
        256 * MiB, ge=0, description="Refuse to start with less in the temporary folder."
    )


class Timeouts(_Frozen):
    """Seconds, on the monotonic clock."""

    headers_s: float = Field(10, gt=0, description="For a request's headers to arrive.")
    body_s: float = Field(120, gt=0, description="For a request's body to arrive.")
    body_idle_s: float = Field(20, gt=0, description="Between two pieces of a body.")
    keep_alive_s: int = Field(75, ge=1, description="An idle connection is closed after this long.")
    queue_s: float = Field(30, gt=0, description="A turn that waits longer is refused (503).")
    stalled_client_s: float = Field(
        30, gt=0, description="A client that reads nothing for this long is dropped."
    )
    drain_grace_s: float = Field(
        0, ge=0, description="After SIGTERM, keep accepting for this long, not ready."
    )
    drain_s: float = Field(120, ge=0, description="After SIGTERM, running answers get this long to finish.")


class ServerSettings(_Frozen):
    """The HTTP side."""

    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    api_key_file: Path | None = Field(
        None, description="One key a line; lines that start with # are skipped."
    )
    api_keys: tuple[SecretStr, ...] = Field(
        (), description="From ANTIPHON_API_KEY or the file, never from flags."
    )
    insecure: bool = Field(False, description="Serve without a key on an address that others can reach.")
    allowed_origins: tuple[Origin, ...] = Field(
        (), max_length=256, description="Web pages' origins that may use the server (CORS); * with keys only."
    )
    dialect: Dialect = Field("openai", description="How speech is streamed to clients that do not say.")
    root_path: str = Field("", max_length=255, description="Path prefix that a proxy strips.")
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()


class LogSettings(_Frozen):
    """What is written about the server's work. Prompts and media never are."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least to be written."
    )
    format: Literal["auto", "json", "plain"] = Field(
        "auto", description="auto: plain on a terminal, else JSON."
    )
    exception_messages: bool = Field(
        False, description="Log what exceptions say; it may quote a client's words."
    )
    milestones: bool = Field(
        False, description="Log for each answer when it came how far, to its first sound and its end."
    )


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="ANTIPHON_", env_nested_delimiter="__", case_sensitive=False
    )

    tier: Tier | None = Field(
        None, description="plus, flash, light or nano: engine settings for one kind of machine."
    )
    server: ServerSettings = ServerSettings()
    chat: ChatPolicy = ChatPolicy()
    media: MediaPolicy = MediaPolicy()
    engine: EngineSettings = Field(default_factory=EngineSettings)
    logs: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A `Settings` is what it was given: `sources.load` reads the environment and keeps the origins."""
        return (init_settings,)
