"""The name of an uploaded file, as it is shown. It never becomes a path."""

from __future__ import annotations

import unicodedata

_MAX_CHARS = 255
_UNNAMED = "file"
# Control and format characters (also those that reverse the direction of writing), surrogates, private use.
_UNSHOWN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_AUDIO_ENDINGS = (".m4a", ".m4b", ".mka", ".weba", ".mpga", ".oga", ".aac")


def shown_name(given: str) -> str:
    """The last part of a path, of at most 255 characters, with "_" for what cannot be shown."""
    last = given.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join("_" if unicodedata.category(char) in _UNSHOWN else char for char in last[:_MAX_CHARS])
    return _UNNAMED if shown.strip(" .") == "" else shown


def names_audio(filename: str, content_type: str) -> bool:
    """Whether the client calls it audio. Some formats hold audio alone or a film."""
    return content_type.lower().startswith("audio/") or filename.lower().endswith(_AUDIO_ENDINGS)
