"""Settings of `/v1/realtime`: limits of connections and conversations."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class RealtimePolicy(BaseModel):
    """Limits on WebSocket connections and on what each of them keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connections: int = Field(256, ge=0, description="Open realtime connections; 0 switches the route off.")
    connections_per_key: int = Field(
        0, ge=0, description="Open realtime connections of one API key; 0: no limit of its own."
    )
    session_s: float = Field(3_600.0, gt=0, description="Time after which a connection is closed.")
    idle_s: float = Field(
        300.0, gt=0, description="Time after which a connection without events or responses is closed."
    )
    frame_bytes: int = Field(1 << 20, ge=4_096, description="Largest event of a client, in bytes.")
    unsent_bytes: int = Field(
        4 << 20, ge=65_536, description="Events that wait for a slow client; with more it is disconnected."
    )
    items: int = Field(1_000, ge=1, description="Items of one conversation.")
    media_bytes: int = Field(
        128 << 20, ge=1 << 20, description="Sound, images and text that one conversation keeps."
    )
    all_media_bytes: int = Field(
        1 << 30, ge=1 << 20, description="Sound, images and text that all conversations together keep."
    )
    media_bytes_per_key: int = Field(
        512 << 20, ge=0, description="The part of it that one API key may keep; 0: no limit of its own."
    )
    turn_s: float = Field(
        300.0, ge=1, description="Longest turn of a user in seconds; a detected one is cut there."
    )
    input_speed: float = Field(
        4.0, ge=1, description="Audio that a client may send, as a multiple of real time."
    )
    input_burst_s: float = Field(
        300.0, ge=1, description="Seconds of audio that it may send at once, before this limit applies."
    )
    interrupt_min_ms: int = Field(
        0, ge=0, le=5_000, description="Speech of the user shorter than this does not interrupt a response."
    )
    signing_key_file: Path | None = Field(
        None,
        description="File with the secret that signs client secrets, the same for all replicas. "
        "Default: random at each start.",
    )
