"""What an operator can set of the chat route: policy, packet rules, grammar limits."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GrammarPolicy(BaseModel):
    """Limits of one schema's compilation, and of all that wait for theirs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compile_s: float = Field(
        default=1.0, gt=0, le=10, description="Processor time to check and compile one JSON schema."
    )
    memory_bytes: int = Field(
        default=256 << 20, ge=16 << 20, description="Memory that compiling one JSON schema may take."
    )
    check_s: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Processor time to check one JSON schema. The event loop stands still meanwhile.",
    )
    step_s: float = Field(
        default=0.1, gt=0, le=1, description="Processor time that a schema may add to one step."
    )
    wait_s: float = Field(
        default=10.0, gt=0, le=60, description="A schema that is not compiled after this long is refused."
    )
    cached_verdicts: int = Field(default=1_024, ge=0, description="Schemas whose cost is remembered.")


class PacketRules(BaseModel):
    """How much speech goes out at once. A packet is one event of a stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    longest_s: float = Field(0.64, ge=0.08, le=5, description="Speech in one packet, at most.")
    reserve_s: float = Field(
        0.25, ge=0.08, le=5, description="A client with less in hand gets all that there is at once."
    )
    share: float = Field(
        0.5, gt=0, le=1, description="How much of what a client has in hand its next packet may be long."
    )


class ChatPolicy(BaseModel):
    """What an operator can set of `/v1/chat/completions`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    silence_s: float = Field(
        default=15.0, gt=0, le=15, description="A silent stream gets a comment after this long."
    )
    headers_s: float = Field(
        default=5.0, gt=0, le=60, description="A stream's headers wait this long for its start."
    )
    text_chars: int = Field(
        default=2_000_000, ge=1, description="Text of one request, all messages together."
    )
    transcripts: int = Field(default=4_096, ge=1, description="Spoken answers that can be referred to by id.")
    transcript_bytes: int = Field(default=16 << 20, ge=1, description="Memory for their transcripts.")
    transcript_s: float = Field(
        default=3_600.0, gt=0, description="How long a spoken answer can be referred to."
    )
    packets: PacketRules = PacketRules()
    grammar: GrammarPolicy = GrammarPolicy()
    encode_s: float = Field(
        default=60.0, gt=0, description="Time to encode one answer as mp3, opus, flac or aac."
    )
