"""All limits on the media of a request, with their defaults.

The operator sets them. A client can lower some of them for its request but cannot raise any.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_MIB = 1 << 20
# Sound of known videos stays in memory, 64 kB for a second of it at most.
KEPT_SOUND_BYTES = 256 * _MIB


class MediaPolicy(BaseModel):
    """Limits are per part unless the name says `request`. A field's command-line flag is `flag(name)`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    long: bool = Field(
        False,
        description="Raise all limits of long media together, for hours of audio or minutes of 720p video in "
        "a request; a limit that is set by itself is kept.",
    )
    request_parts: int = Field(
        32, ge=0, description="Media parts in one request; a frame list counts as one part."
    )
    part_bytes: int = Field(32 * _MIB, ge=1, description="Encoded bytes of one part.")
    request_bytes: int = Field(64 * _MIB, ge=1, description="Encoded bytes of all parts together.")
    request_decoded_bytes: int = Field(
        3072 * _MIB,
        ge=1,
        description="Decoded bytes of all parts together: audio, images with the engine's floats for them, "
        "and the frames of videos, which are kept on disk.",
    )

    audio_seconds: float = Field(
        2400.0, gt=0, description="Seconds of one audio part; the audio of a video has the limit of videos."
    )
    request_audio_seconds: float = Field(
        2400.0, gt=0, description="Seconds of audio in all parts together, including videos."
    )

    image_source_pixels: int = Field(
        50_000_000, ge=1, description="Pixels of the largest image that is decoded."
    )
    image_pixels: int = Field(
        12_845_056, ge=1024, description="Pixels to which larger images are scaled down."
    )
    aspect_ratio: float = Field(
        190.0, ge=1, lt=200, description="Largest ratio of the longer side to the shorter side."
    )

    video_seconds: float = Field(600.0, gt=0, description="Seconds of one video.")
    video_frames: int = Field(
        768, ge=1, description="Frames kept of one video; a long video gets a lower frame rate."
    )
    video_min_frames: int = Field(2, ge=1, description="Frames kept of a short video, if it has that many.")
    video_fps: float = Field(2.0, gt=0, le=60, description="Frames kept per second of video by default.")
    video_max_fps: float = Field(
        30.0, gt=0, le=60, description="Highest frame rate that a client can request."
    )
    video_frame_pixels: int = Field(
        602_112, ge=1024, description="Pixels to which larger video frames are scaled down."
    )
    video_total_pixels: int = Field(
        90_316_800,
        ge=1024,
        description="Pixels of one video, counted per pair of frames; frames are scaled down to it. A short "
        "context lowers it.",
    )
    video_placed_fps: float | None = Field(
        None,
        gt=0,
        le=60,
        description="Frame rate at which videos are placed in time; their own by default. 1 gives the "
        "positions of the makers' snippets, which sample at 2 fps.",
    )
    frames_folder: Path | None = Field(
        None,
        description="Folder for temporary files of decoded video frames and of features of long recordings, "
        "on a disk rather than in memory; the system's (TMPDIR) by default.",
    )
    stored_frames_bytes: int = Field(
        4096 * _MIB,
        ge=1,
        description="Bytes of decoded video frames in temporary files: of running requests, and of videos "
        "about which a further question may come.",
    )
    video_source_pixels: int = Field(
        9_437_184, ge=1, description="Pixels of the largest video frame that is decoded."
    )

    fetch_hosts: tuple[str, ...] = Field(
        (), description="Hosts from which media may be fetched; none by default."
    )
    fetch_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Non-public networks that an allowed host may resolve to; none by default."
    )
    fetch_s: float = Field(15.0, gt=0, description="Seconds for one whole fetch.")
    fetch_first_byte_s: float = Field(
        5.0, gt=0, description="Seconds until the first byte of the response body."
    )
    fetch_bytes_per_s: int = Field(
        16_384, ge=0, description="Slower responses are aborted after two seconds."
    )

    request_fetches: int = Field(
        8, ge=1, le=64, description="URLs of one request that are fetched concurrently."
    )

    decode_s: float = Field(
        30.0,
        gt=0,
        description="Seconds of wall-clock and CPU time to decode one part; a second more for each 25 s of "
        "audio, and for each 4 s of the longest video (--media-video-seconds).",
    )
    decode_memory_bytes: int = Field(
        2048 * _MIB, ge=256 * _MIB, description="Bytes of address space for the work of one decoder."
    )
    decode_workers: int = Field(2, ge=1, le=64, description="Concurrent decoders of all requests together.")
    decode_queue_s: float = Field(30.0, gt=0, description="Seconds to wait for a free decoder.")
    allow_weak_sandbox: bool = Field(
        False, description="Decode media even if a required layer of the sandbox is missing."
    )


def flag(field: str) -> str:
    """The command-line flag that sets a field of the policy, for error messages."""
    if field not in MediaPolicy.model_fields:
        raise KeyError(field)
    # This flag has vLLM's name.
    return "--allowed-media-domains" if field == "fetch_hosts" else "--media-" + field.replace("_", "-")
