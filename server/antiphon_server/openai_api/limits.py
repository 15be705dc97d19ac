"""How large a chat request may be, and what an operator can set of the chat route.

In: nothing. Out: the bounds of every field of the wire types, and `ChatPolicy`, a part of the settings.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from antiphon_server.chat.response.packetizer import PacketRules
from antiphon_server.openai_api.grammar_policy import GrammarPolicy

MAX_MESSAGES = 2_048
MAX_PARTS = 512
MAX_VIDEO_FRAMES = 2_048
MAX_TEXT_CHARS = 8_000_000
MAX_LOCATION_CHARS = 256 * 1024 * 1024
MAX_NAME_CHARS = 256
MAX_TOOLS = 128
MAX_TOOL_CALLS = 128
MAX_TOOLS_JSON_CHARS = 256_000
MAX_SCHEMA_JSON_CHARS = 16_000
# Of all schemas that one answer is held to. OpenAI takes 5,000 properties and 1,000 values of enums.
MAX_SCHEMA_PROPERTIES = 2_000
# Schemas within them, definitions too. To look through these holds the event loop for about 30 ms.
MAX_SCHEMA_PLACES = 5_000
MAX_SCHEMA_VALUES = 2_000
MAX_SCHEMA_BRANCHES = 1_000
MAX_SCHEMA_ITEMS = 20_000
MAX_SCHEMA_MULTIPLE = 10_000
MAX_FORCED_JSON_CHARS = 256_000
MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_LOGIT_BIAS = 1_024
MAX_TOP_LOGPROBS = 20
MAX_CHOICES = 4
MAX_TOKENS = 1_048_576
MAX_REPEATED_TOKENS = 256
MAX_REPETITIONS = 256
MAX_SEED = 2**63 - 1
MAX_METADATA = 64


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
