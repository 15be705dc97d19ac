"""The tiny checkpoint, for the server's own reader."""

from __future__ import annotations

from tests.checkpoints import released_qwen3_omni  # noqa: F401
