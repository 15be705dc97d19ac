"""The length of a window of sound, in mel frames."""

from __future__ import annotations

from antiphon_executor.interface.audio_geometry import FRAME_MS

# A multiple of 8 s, in which the audio towers attend, and of a minute: Qwen3.5-Omni's timestamps.
WINDOW_S = 120
BLOCK_FRAMES = 8_000 // FRAME_MS
WINDOW_FRAMES = WINDOW_S * 1_000 // FRAME_MS
# A clip's last window takes less than this in addition: alone, Qwen3-Omni's tower would pad it differently.
LEAST_FRAMES = 1_000 // FRAME_MS
LONGEST_WINDOW_FRAMES = WINDOW_FRAMES + LEAST_FRAMES
