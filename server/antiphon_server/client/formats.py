"""The formats of audio files and of transcripts, by the suffixes of their files."""

from __future__ import annotations

SPEECH_FORMATS = {
    ".mp3": "mp3",
    ".wav": "wav",
    ".flac": "flac",
    ".opus": "opus",
    ".ogg": "opus",
    ".aac": "aac",
    ".pcm": "pcm",
}
# Files of these formats can be joined by their bytes.
JOINABLE = frozenset({"mp3", "wav", "aac", "pcm"})
TRANSCRIPT_SUFFIXES = {"text": ".txt", "srt": ".srt", "vtt": ".vtt", "json": ".json", "verbose_json": ".json"}
