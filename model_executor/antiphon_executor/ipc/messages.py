"""Messages between the processes of one Antiphon, as msgspec structs over unix sockets in a private folder.

    Thinker worker ── HiddenStates, HiddenStatesFailed ──► bridge
    bridge ── SpokenText, StreamClosed, ClientCursor ──► Talker scheduler
    Talker worker ── SpeechFrames, StreamFailed ──► bridge
    Talker scheduler ── StreamsPaused, StepTimesReport, StreamFailed ──► bridge

Tensors travel as raw little-endian bytes beside their shape. Never pickle.
"""

from __future__ import annotations

import msgspec


class HiddenStates(msgspec.Struct, frozen=True, tag=True):
    """What the Talker's prompt needs of a Thinker prompt, sent once when its prefill is complete.

    `prompt_token_ids`: int32 [num_tokens], after expansion. `positions`: int32 [3, num_tokens], the
    Thinker's TM-RoPE positions, packed as `rope.pack` does; empty for Qwen3.5-Omni, whose Talker has its own.
    `row_index`: int32 [num_rows], prompt indices of the media tokens inside user segments that the Talker
    reads. `rows`: [num_rows, hidden_size] of `dtype`, the accept layer's hidden states there.
    """

    request_id: str
    prompt_token_ids: bytes
    positions: bytes
    row_index: bytes
    rows: bytes
    hidden_size: int
    dtype: str


class HiddenStatesFailed(msgspec.Struct, frozen=True, tag=True):
    """The media rows of a request will not come."""

    request_id: str


class SpokenText(msgspec.Struct, frozen=True, tag=True):
    """More text for a stream to speak. `final` says that no more will come."""

    stream: int
    token_ids: list[int]
    final: bool


class StreamClosed(msgspec.Struct, frozen=True, tag=True):
    """The server is done with a stream, however it ended: text that found no open slot can be forgotten."""

    stream: int


class ClientCursor(msgspec.Struct, frozen=True, tag=True):
    """A stream's client has taken `samples` of its sound, all counted: it is no further than that."""

    stream: int
    samples: int


class StreamsPaused(msgspec.Struct, frozen=True, tag=True):
    """How many streams rest because they are far enough ahead of their clients; sent when it changes."""

    streams: int


class StepTimesReport(msgspec.Struct, frozen=True, tag=True):
    """How long Talker steps take, sent now and then: see `FrameTime` in `capacity.py`."""

    step_s: tuple[float, ...]
    live_stream_limit: int
    startup_buffer_s: float


class SpeechFrames(msgspec.Struct, frozen=True, tag=True):
    """One Talker step of one stream. `codes`: int16 [groups]; `pcm`: s16le at 24 kHz; both empty at EOS.

    `frame`: index of the frame in its stream.
    """

    stream: int
    frame: int
    codes: bytes
    pcm: bytes
    ended: bool


class StreamFailed(msgspec.Struct, frozen=True, tag=True):
    """A stream has lost something on its way, and cannot be spoken to its end."""

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
