"""Fixed bounds of the fields of a chat request. Those that an operator can set are in `ChatPolicy`."""

from __future__ import annotations

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
# Over all schemas of one answer. OpenAI accepts 5,000 properties and 1,000 enum values.
MAX_SCHEMA_PROPERTIES = 2_000
# Schemas within them, including definitions. Checking this many blocks the event loop for about 30 ms.
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
