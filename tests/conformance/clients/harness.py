"""What the clients' scripts share: the server's address, questions with their answers, and the report.

Standard library only: each script runs in the environment of its client, as `SCRIPT URL FOLDER`. FOLDER has
`sentence.wav`, which says SENTENCE, `question.wav`, which says QUESTION, and `picture.png`.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import os
import subprocess
import sys
import traceback
import wave
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

URL = sys.argv[1]
BASE = f"{URL}/v1"
FOLDER = Path(sys.argv[2])
MODEL = "antiphon-nano"
KEY = "none"

QUESTION, ANSWER = "What is seven plus five?", "Seven plus five is twelve."
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
# antiphon-nano hears few sentences without an error. This one has no pause at which it would be cut.
SENTENCE = "I see a red circle."
SENTENCE_WAV = FOLDER / "sentence.wav"
# QUESTION in the voice of espeak-ng, and a request whose answer takes longer than it.
QUESTION_WAV = FOLDER / "question.wav"
COUNTING = "Count from one to twenty."

# Its only possible calls are `{"on": true}` and `{"on": false}`: antiphon-nano has learned no tools.
SWITCH = {
    "type": "object",
    "properties": {"on": {"type": "boolean"}},
    "required": ["on"],
    "additionalProperties": False,
}
TOOL: Any = {
    "type": "function",
    "function": {"name": "switch", "description": "Switch the lamp.", "parameters": SWITCH},
}

os.environ["OPENAI_BASE_URL"] = os.environ["OPENAI_API_BASE"] = BASE
os.environ["OPENAI_API_KEY"] = KEY


def report(package: str, *cases: Callable[[], Any], then: Callable[[], None] = lambda: None) -> None:
    """Runs each case, and prints the package's version and, by case, what failed (None: nothing).

    Ends the process, after `then`: some clients leave threads that would keep it.
    """
    found: dict[str, str | None] = {}
    loop = asyncio.new_event_loop()
    for case in cases:
        try:
            result = case()
            if inspect.isawaitable(result):
                # One loop for all: some clients keep their connections.
                loop.run_until_complete(asyncio.wait_for(result, 60))
        except BaseException:
            found[case.__name__] = traceback.format_exc()[-3_000:]
        else:
            found[case.__name__] = None
    print(json.dumps({"version": version(package), "cases": found}), flush=True)
    then()
    os._exit(0)


def same_words(text: str, expected: str = SENTENCE) -> None:
    """Equal but for white space at the ends."""
    assert text.strip() == expected, (text, expected)


def switched(arguments: str) -> None:
    """Arguments of a call of the tool."""
    assert json.loads(arguments) in ({"on": True}, {"on": False}), arguments


def microphone(frame_s: float) -> list[bytes]:
    """QUESTION between silence, in frames of s16le at 24 kHz."""
    form = ["-af", "adelay=300,apad=pad_dur=1.5", "-f", "s16le", "-ac", "1", "-ar", "24000", "-"]
    command = ["ffmpeg", "-v", "error", "-i", str(QUESTION_WAV), *form]
    pcm = subprocess.run(command, capture_output=True, timeout=30, check=True).stdout
    size = round(24_000 * frame_s) * 2
    return [pcm[at : at + size] for at in range(0, len(pcm) - size, size)]


def seconds_of(sound: bytes, *pcm: str) -> float:
    """Decoded by ffmpeg; `pcm`: its arguments for a file without a header. It must not be silent."""
    command = ["ffmpeg", "-v", "error", *pcm, "-i", "-", "-f", "s16le", "-ac", "1", "-ar", "24000", "-"]
    done = subprocess.run(command, input=sound, capture_output=True, timeout=30, check=True)
    assert not done.stderr, done.stderr
    assert any(done.stdout), "silence"
    return len(done.stdout) / 48_000


PCM = ("-f", "s16le", "-ac", "1", "-ar", "24000")


def spoken(sound: bytes, *pcm: str) -> None:
    """As long as SENTENCE takes: the recording, which the same voice speaks, within a fifth."""
    with wave.open(io.BytesIO(SENTENCE_WAV.read_bytes())) as file:
        expected = file.getnframes() / file.getframerate()
    assert abs(seconds_of(sound, *pcm) - expected) < 0.2 * expected
