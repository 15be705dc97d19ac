"""The names of our models and of our KV connector in vLLM's registries."""

from __future__ import annotations

from typing import Final

THINKER_ARCHITECTURE: Final = "AntiphonQwen3OmniThinker"
TALKER_ARCHITECTURE: Final = "AntiphonQwen3OmniTalker"
ARIA_THINKER_ARCHITECTURE: Final = "AntiphonQwen3_5OmniThinker"
ARIA_TALKER_ARCHITECTURE: Final = "AntiphonQwen3_5OmniTalker"
HIDDEN_STATES_CONNECTOR: Final = "HiddenStatesConnector"

# The codec frames of Qwen3.5-Omni's built-in voices.
SPEAKER_CODES = "talker.speaker_codec_embeddings"
