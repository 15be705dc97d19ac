"""The languages of recordings: ISO 639-1 codes and the English names that a prompt has."""

from __future__ import annotations

from antiphon_executor.interface.card import Listening
from antiphon_server.errors import BadRequest

NAMES = {
    "af": "Afrikaans", "ar": "Arabic", "az": "Azerbaijani", "be": "Belarusian", "bg": "Bulgarian", "bn":
    "Bengali", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de":
    "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi":
    "Finnish", "fr": "French", "gl": "Galician", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu":
    "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "kk": "Kazakh", "kn": "Kannada", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mi": "Maori",
    "mk": "Macedonian", "mr": "Marathi", "ms": "Malay", "ne": "Nepali", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl":
    "Slovenian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "th": "Thai", "tl":
    "Tagalog", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "yue": "Cantonese",
    "zh": "Chinese",
}  # fmt: skip


def spoken_languages(asked: tuple[str, ...], listening: Listening) -> tuple[str, ...]:
    """The codes of the recording's languages. Raises BadRequest for one that is not known to the model."""
    codes = tuple(code.lower().partition("-")[0] for code in asked)
    for code in codes:
        if code not in NAMES:
            raise BadRequest("It is no ISO 639-1 code of a language.", param="language")
        if listening.languages and code not in listening.languages:
            known = ", ".join(listening.languages)
            raise BadRequest(
                f"This model understands: {known}.", param="language", code="unsupported_by_model"
            )
    return codes


def named_in(instruction: str, codes: tuple[str, ...]) -> str:
    """The instruction for a recording in these languages."""
    names = " or ".join(NAMES[code] for code in codes)
    return instruction.replace("{language}", f"{names} " if names else "")
