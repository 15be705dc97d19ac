"""Settings of the chat route: limits of requests, audio packets and JSON schemas."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GrammarPolicy(BaseModel):
    """Limits on the compilation of JSON schemas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compile_s: float = Field(
        default=1.0, gt=0, le=10, description="CPU time to check and compile one JSON schema."
    )
    memory_bytes: int = Field(
        default=256 << 20, ge=16 << 20, description="Memory to compile one JSON schema."
    )
    check_s: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="CPU time to check one JSON schema; it blocks the event loop.",
    )
    step_s: float = Field(
        default=0.1, gt=0, le=1, description="CPU time that a schema may add to one engine step."
    )
    wait_s: float = Field(
        default=10.0, gt=0, le=60, description="Time after which a schema that is not compiled is rejected."
    )
    cached_verdicts: int = Field(default=1_024, ge=0, description="Schemas whose cost is cached.")
    parallel: int = Field(
        default=2, ge=1, le=64, description="Schemas measured, and compiled by the engine, at the same time."
    )
    queued_per_key: int = Field(
        default=32, ge=1, description="Schemas of one API key that may wait to be measured."
    )


class PromptPolicy(BaseModel):
    """Limits on prompts that take long to render. Each API key renders one of them at a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int = Field(default=2, ge=1, le=64, description="Threads that render long prompts.")
    queued_per_key: int = Field(
        default=64, ge=1, description="Long prompts of one API key that may wait for a thread."
    )
    wait_s: float = Field(
        default=30.0, gt=0, le=300, description="Time after which a long prompt that still waits is rejected."
    )


class PacketRules(BaseModel):
    """How much speech is sent at once. A packet is one event of a stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    longest_s: float = Field(0.64, ge=0.08, le=5, description="Longest packet, in seconds of speech.")
    reserve_s: float = Field(
        0.25,
        ge=0.08,
        le=5,
        description="Speech is sent at once to a client that has buffered less than this.",
    )
    share: float = Field(
        0.5, gt=0, le=1, description="Longest packet, as a share of what the client has buffered."
    )


class ChatPolicy(BaseModel):
    """Settings of `/v1/chat/completions`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    silence_s: float = Field(
        default=15.0, gt=0, le=15, description="Time after which a silent stream gets a comment line."
    )
    headers_s: float = Field(
        default=5.0, gt=0, le=60, description="Time for which a stream's headers wait for its first event."
    )
    text_chars: int = Field(
        default=2_000_000, ge=1, description="Characters of text in one request, all messages together."
    )
    transcripts: int = Field(
        default=4_096, ge=1, description="Spoken answers that later requests can refer to by id."
    )
    transcript_bytes: int = Field(
        default=16 << 20, ge=1, description="Memory for the transcripts of these answers."
    )
    transcript_s: float = Field(
        default=3_600.0, gt=0, description="Time for which later requests can refer to a spoken answer."
    )
    spoken_piece_chars: int | None = Field(
        default=None,
        ge=40,
        le=4_096,
        description="Text to read aloud is cut at sentence ends into pieces of at most this many characters; "
        "each is spoken as an answer of its own. Default: the checkpoint's own figure, or 400.",
    )
    heard_piece_s: float = Field(
        default=30.0,
        gt=1,
        le=300,
        description="A recording to transcribe is cut at pauses into pieces of at most this many seconds.",
    )
    heard_pieces: int = Field(
        default=4, ge=1, le=64, description="Pieces of one recording that are transcribed at the same time."
    )
    packets: PacketRules = PacketRules()
    grammar: GrammarPolicy = GrammarPolicy()
    prompt: PromptPolicy = PromptPolicy()
    encode_s: float = Field(
        default=60.0, gt=0, description="Time to encode one answer as mp3, opus, flac or aac."
    )
