"""Messages between the processes of one server: msgspec structs over unix sockets in a private folder.

Tensors are raw little-endian bytes beside their shape. Pickle is never used.
"""

from __future__ import annotations

import msgspec

# Thinker worker ── HiddenStates, HiddenStatesFailed ──► bridge
# bridge ── SpokenText, StreamClosed, ClientCursor ──► Talker scheduler
# Talker worker ── SpeechFrames, StreamFailed ──► bridge
# Talker scheduler ── StreamsPaused, StepTimesReport, StreamFailed ──► bridge


class HiddenStates(msgspec.Struct, frozen=True, tag=True):
    """The part of a Thinker prompt that the Talker's prompt needs, sent once when its prefill is complete.

    `prompt_token_ids`: int32 [num_tokens], media expanded. `positions`: int32 [3, num_tokens], TM-RoPE
    positions as `packed_mrope.pack` gives them; empty for Qwen3.5-Omni, whose Talker has its own.
    `row_index`: int32 [num_rows], prompt indices of the multimodal hidden states. `rows`:
    [num_rows, hidden_size] of `dtype`, the hidden states of the layer that the Talker accepts.
    """

    request_id: str
    prompt_token_ids: bytes
    positions: bytes
    row_index: bytes
    rows: bytes
    hidden_size: int
    dtype: str


class HiddenStatesFailed(msgspec.Struct, frozen=True, tag=True):
    """The hidden states of a request are lost."""

    request_id: str


class SpokenText(msgspec.Struct, frozen=True, tag=True):
    """More text for a stream to speak; `final` with the last of it."""

    stream: int
    token_ids: list[int]
    final: bool


class StreamClosed(msgspec.Struct, frozen=True, tag=True):
    """The server is done with a stream: text that has not reached a slot can be dropped."""

    stream: int


class ClientCursor(msgspec.Struct, frozen=True, tag=True):
    """A stream's client has consumed `samples` in total, which limits what it can have played."""

    stream: int
    samples: int


class StreamsPaused(msgspec.Struct, frozen=True, tag=True):
    """How many streams are paused because their clients have enough buffered; sent when it changes."""

    streams: int


class StepTimesReport(msgspec.Struct, frozen=True, tag=True):
    """Measured Talker step times, sent every few seconds. Fields as in `interface.capacity.FrameTime`."""

    step_s: tuple[float, ...]
    live_stream_limit: int
    startup_buffer_s: float


class SpeechFrames(msgspec.Struct, frozen=True, tag=True):
    """One frame of one stream. `frame`: its index in the stream.

    `codes`: int16 [groups]; `pcm`: s16le at 24 kHz. Both are empty at EOS.
    """

    stream: int
    frame: int
    codes: bytes
    pcm: bytes
    ended: bool


class StreamFailed(msgspec.Struct, frozen=True, tag=True):
    """A message of the stream was lost, so the stream cannot be completed."""

    stream: int


Message = (
    HiddenStates
    | HiddenStatesFailed
    | SpokenText
    | StreamClosed
    | ClientCursor
    | StreamsPaused
    | StepTimesReport
    | SpeechFrames
    | StreamFailed
)
