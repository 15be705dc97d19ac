"""Every limit on the media of a request, with its default.

In: the operator's settings. Out: numbers that `fetch`, `base64_data`, `budget` and the decoders obey.
A client can ask for less than these, never for more.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pydantic import BaseModel, ConfigDict, Field

_MIB = 1 << 20


class MediaPolicy(BaseModel):
    """Limits are per part unless the name says `request`. A field's command-line flag is `flag(name)`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_parts: int = Field(
        32, ge=0, description="Media parts in one request; a video's frame list is one."
    )
    part_bytes: int = Field(32 * _MIB, ge=1, description="Encoded size of one part.")
    request_bytes: int = Field(64 * _MIB, ge=1, description="Encoded size of all parts together.")
    request_decoded_bytes: int = Field(
        2048 * _MIB,
        ge=1,
        description="Decoded size of all parts together, with the floats that the engine makes of pictures.",
    )

    audio_seconds: float = Field(
        300.0, gt=0, description="Length of one audio part; a video's sound may be as long as the video."
    )
    request_audio_seconds: float = Field(
        1200.0, gt=0, description="Sound in all parts together, videos included."
    )

    image_source_pixels: int = Field(50_000_000, ge=1, description="Largest picture that is opened at all.")
    image_pixels: int = Field(12_845_056, ge=1024, description="Larger pictures are scaled down to this.")
    aspect_ratio: float = Field(190.0, ge=1, lt=200, description="Longer side over shorter side.")

    video_seconds: float = Field(600.0, gt=0, description="Length of one video.")
    video_frames: int = Field(
        512, ge=1, description="Frames kept of one video; a long one is sampled less often."
    )
    video_fps: float = Field(
        2.0, gt=0, le=60, description="Frames kept a second where the client does not say."
    )
    video_max_fps: float = Field(
        30.0, gt=0, le=60, description="Most frames a second that a client can ask for."
    )
    video_frame_pixels: int = Field(602_112, ge=1024, description="Larger frames are scaled down to this.")
    video_source_pixels: int = Field(9_437_184, ge=1, description="Largest frame that is decoded at all.")

    fetch_hosts: tuple[str, ...] = Field(
        (), description="Hosts that media may be fetched from; none by default."
    )
    fetch_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="Non-public networks that an allowed host may resolve to; none by default."
    )
    fetch_s: float = Field(15.0, gt=0, description="Whole time of one fetch.")
    fetch_first_byte_s: float = Field(
        5.0, gt=0, description="Time until the first byte of the answer's body."
    )
    fetch_bytes_per_s: int = Field(
        16_384, ge=0, description="Slower answers are given up, after two seconds."
    )

    request_fetches: int = Field(8, ge=1, le=64, description="URLs of one request that are fetched at once.")

    decode_s: float = Field(30.0, gt=0, description="Wall-clock and CPU time to decode one part.")
    decode_memory_bytes: int = Field(
        2048 * _MIB, ge=256 * _MIB, description="Address space that one decoder may take for its work."
    )
    decode_workers: int = Field(2, ge=1, le=64, description="Decoders at once, over all requests.")
    decode_queue_s: float = Field(30.0, gt=0, description="Longest wait for a free decoder.")
    allow_weak_sandbox: bool = Field(
        False, description="Decode media although a required layer of the sandbox is missing."
    )


def flag(field: str) -> str:
    """The command-line flag that sets a field of the policy, for error messages."""
    if field not in MediaPolicy.model_fields:
        raise KeyError(field)
    # The one with a short name, which is vLLM's.
    return "--allowed-media-domains" if field == "fetch_hosts" else "--media-" + field.replace("_", "-")
