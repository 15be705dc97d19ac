"""The length of a window of sound, in mel frames."""

from __future__ import annotations

from antiphon_executor.interface.audio_geometry import FRAME_MS

# A multiple of 8 s, in which the audio towers attend, and of a minute: Qwen3.5-Omni's timestamps.
WINDOW_S = 120
BLOCK_S = 8
BLOCK_FRAMES = BLOCK_S * 1_000 // FRAME_MS
WINDOW_FRAMES = WINDOW_S * 1_000 // FRAME_MS
# A clip's last window takes less than this in addition: alone, Qwen3-Omni's tower would pad it differently.
LEAST_FRAMES = 1_000 // FRAME_MS
LONGEST_WINDOW_FRAMES = WINDOW_FRAMES + LEAST_FRAMES


def window_frames(window_s: int | None) -> int:
    """Mel frames of a window; None: of a long clip. ValueError if an audio tower would attend beyond it."""
    frames = WINDOW_FRAMES if window_s is None else window_s * 1_000 // FRAME_MS
    if frames <= 0 or frames % BLOCK_FRAMES:
        raise ValueError(f"a window of {window_s} s is no multiple of 8 s")
    return frames
