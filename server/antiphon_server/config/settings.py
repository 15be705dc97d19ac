"""The settings of one server as one frozen tree. `sources.load` fills it and records each value's origin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.config.chat import ChatPolicy
from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.config.tier import Tier
from antiphon_server.files.policy import FilePolicy
from antiphon_server.keys.key_table import SHAPE_RULE, hash_of
from antiphon_server.media.policy import MediaPolicy

MiB = 1 << 20
Dialect = Literal["openai", "dashscope", "union"]


def _origin(text: str) -> str:
    if text != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/,@A-Z]+", text):
        raise ValueError("an origin is http://host or http://host:port in lower case, without a path")
    return text


def _objective(text: str) -> str:
    if not re.fullmatch(r"[^=\s]{1,253}=-?\d{1,9}", text):
        raise ValueError("an objective is NAME=NUMBER")
    return text


def _key_hash(key: object) -> SecretStr:
    text = key.get_secret_value() if isinstance(key, SecretStr) else key
    if not isinstance(text, str):
        raise ValueError(SHAPE_RULE)  # noqa: TRY004 - pydantic translates it
    return SecretStr(hash_of(text))


# The SHA-256 of an API key: the key itself is not kept.
KeyHash = Annotated[SecretStr, BeforeValidator(_key_hash)]
Origin = Annotated[str, AfterValidator(_origin)]
Objective = Annotated[str, AfterValidator(_objective)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Frozen):
    """Limits on what a client may send and on how much work may wait."""

    url_bytes: int = Field(8 << 10, ge=256, description="Longest request target (path and query), in bytes.")
    header_bytes: int = Field(32 << 10, ge=1024, description="Size of all headers of a request together.")
    connections: int = Field(
        0, ge=0, description="Open connections; 0: half of the open-file limit, at most 8192."
    )
    connections_per_address: int = Field(
        0, ge=0, description="Open connections per client address (IPv6: per /64 network); 0: half of all."
    )
    body_bytes: int = Field(96 * MiB, ge=1024, description="Largest request body, media included.")
    bodies_in_flight_bytes: int = Field(
        1024 * MiB,
        ge=1024,
        description="Bodies of all requests together, each from its first byte until its media are "
        "decoded. Parsing a body takes as much memory again.",
    )
    json_depth: int = Field(64, ge=4, le=128, description="Nesting depth of a JSON body.")
    json_nodes: int = Field(100_000, ge=100, description="Brackets, commas and strings in a JSON body.")
    queued_turns: int = Field(
        64, ge=0, description="Requests that may wait for a slot, counted separately for text and speech."
    )
    turns_per_key: int = Field(0, ge=0, description="Requests that one API key may run at once; 0: no limit.")
    tokens_per_minute: int = Field(
        0, ge=0, description="Tokens per API key, as `usage` counts them; 0: no limit."
    )
    audio_seconds_per_minute: float = Field(
        0, ge=0, description="Audio input and output per API key; 0: no limit."
    )
    real_time: bool = Field(
        True,
        description="Admit a live stream only while the Talker keeps up with all live streams.",
    )
    answer_tokens: int = Field(
        1024,
        ge=1,
        description="Answer tokens for which KV cache is reserved at the start; more as it grows.",
    )
    answer_speech_s: float = Field(
        60, gt=0, description="Seconds of speech for which Talker cache is reserved at the start."
    )
    prefill_s: float = Field(
        30,
        ge=0,
        description="Longest prefill of all waiting prompts together, by the measured rate; 0: no limit.",
    )
    queued_prompt_tokens: int = Field(
        2_000_000, ge=0, description="Tokens of all prompts that wait for prefill; 0: no limit."
    )
    queued_media_seconds: float = Field(
        3600, ge=0, description="Audio and video of all waiting requests together, in seconds."
    )
    media_bytes: int = Field(
        4096 * MiB, ge=1 << 20, description="Decoded media of all requests together, waiting and running."
    )
    free_disk_bytes: int = Field(
        256 * MiB, ge=0, description="Free space in the temporary folder that the server requires to start."
    )


class GatewaySettings(_Frozen):
    """A gateway for inference in front of the server, such as llm-d, that names tenants and objectives."""

    trusted: bool = Field(
        False,
        description="Use the gateway's headers x-gateway-inference-fairness-id (a tenant of the queue, the "
        "caches and the limits of keys) and x-gateway-inference-objective. Only the gateway may reach the "
        "server then.",
    )
    objectives: tuple[Objective, ...] = Field(
        (),
        max_length=256,
        description="Priority of an objective, as NAME=NUMBER; higher starts first; others have 0.",
    )

    def priority_of(self, objective: str) -> int:
        found = dict(text.rsplit("=", 1) for text in self.objectives)
        return int(found.get(objective, 0))


class Timeouts(_Frozen):
    """Time limits in seconds, on the monotonic clock."""

    headers_s: float = Field(10, gt=0, description="Time for a request's headers to arrive.")
    body_s: float = Field(120, gt=0, description="Time for a request's body to arrive.")
    body_idle_s: float = Field(20, gt=0, description="Time between two parts of a body.")
    keep_alive_s: int = Field(75, ge=1, description="Time after which an idle connection is closed.")
    queue_s: float = Field(30, gt=0, description="Time after which a waiting request is rejected with 503.")
    stalled_client_s: float = Field(
        30, gt=0, description="Time after which a client that reads nothing is disconnected."
    )
    drain_grace_s: float = Field(
        0, ge=0, description="After SIGTERM, accept requests for this long while /readyz answers 503."
    )
    drain_s: float = Field(120, ge=0, description="After SIGTERM, time for running requests to finish.")


class ServerSettings(_Frozen):
    """Settings of the HTTP server."""

    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 picks a free one.")
    api_key_file: Path | None = Field(
        None,
        description="File of API keys, one per line (# starts a comment), or YAML with classes of keys and "
        "their limits. A change takes effect within two seconds.",
    )
    api_keys: tuple[KeyHash, ...] = Field(
        (), description="API keys, from ANTIPHON_API_KEY or the key file, never from flags."
    )
    insecure: bool = Field(
        False, description="Serve without a key on an address that other machines can reach."
    )
    tls_certificate_file: Path | None = Field(
        None, description="Certificate chain (PEM) for TLS. With it the server answers https and wss only."
    )
    tls_key_file: Path | None = Field(None, description="Private key (PEM) of this certificate.")
    allowed_origins: tuple[Origin, ...] = Field(
        (),
        max_length=256,
        description="Origins of web pages that may use the server (CORS); * requires an API key.",
    )
    dialect: Dialect = Field(
        "openai", description="Format of streamed speech if the request does not name one."
    )
    page: bool = Field(True, description="Serve the page at /, a client of this server in the browser.")
    root_path: str = Field("", max_length=255, description="Path prefix that a reverse proxy strips.")
    gateway: GatewaySettings = GatewaySettings()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()


class LogSettings(_Frozen):
    """What is logged. Prompts and media never are."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )
    format: Literal["auto", "json", "plain"] = Field(
        "auto", description="auto: plain on a terminal, otherwise JSON."
    )
    exception_messages: bool = Field(
        False, description="Log messages of exceptions and libraries; they may quote requests."
    )
    admissions: bool = Field(
        False, description="Log each admission and refusal by request id, with the class of its key."
    )
    milestones: bool = Field(
        False, description="Log a trace of each request: when it reached each stage up to its end."
    )


class TraceSettings(_Frozen):
    """OpenTelemetry traces. Off unless there is an endpoint."""

    endpoint: str = Field(
        "",
        max_length=512,
        pattern=r"^(https?://\S+)?$",
        description="Collector for spans, as OTLP over HTTP (http://host:4318/v1/traces); empty: no traces.",
    )
    sampled_share: float = Field(
        1.0, ge=0, le=1, description="Share of the traces that begin here; a client's trace decides itself."
    )
    service_name: str = Field(
        "antiphon", min_length=1, max_length=128, description="`service.name` of all spans."
    )


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="ANTIPHON_", env_nested_delimiter="__", case_sensitive=False
    )

    tier: Tier | None = Field(None, description="Preset of engine settings for one kind of machine.")
    server: ServerSettings = ServerSettings()
    chat: ChatPolicy = ChatPolicy()
    realtime: RealtimePolicy = RealtimePolicy()
    media: MediaPolicy = MediaPolicy()
    files: FilePolicy = FilePolicy()
    engine: EngineSettings = Field(default_factory=EngineSettings)
    logs: LogSettings = LogSettings()
    traces: TraceSettings = TraceSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only explicit values: `sources.load` reads the environment and records the origins."""
        return (init_settings,)
