"""Wordings of questions about sound, alone or together with a picture."""

from __future__ import annotations

WRITE = (
    "transcribe the audio.", "transcribe this.", "write down what is said.", "repeat what I say.",
    "repeat what I said.", "please transcribe.", "what is said here? Write it down.", "repeat the sentence.",
    "say it again.", "please repeat what you hear.", "Transcribe", "transcribe the recording.",
)  # fmt: skip
DID_I_SAY = (
    "what did I say?",
    "what did I say just now?",
    "tell me what I said.",
    "what was said?",
    "what have I said?",
)
BOTH = (
    "what do you see, and what did I say?", "what is in the picture, and what did I say?",
    "what did I say, and what do you see?", "tell me what you see and what I said.",
)  # fmt: skip
BOTH_CLIP = (
    "what is moving, and what do you hear?", "what do you see and hear?",
    "what do you see, and what do you hear?", "describe what you see and hear in the video.",
)  # fmt: skip
HEAR = (
    "what do you hear?", "what can you hear?", "what is heard?", "describe the sound.", "what sound is this?",
    "tell me what you hear.",
)  # fmt: skip
HEAR_IN_CLIP = (
    "what do you hear in the video?", "what is heard in the video?", "what sound does the video have?", *HEAR,
)  # fmt: skip
