"""Measures the audio routes on antiphon-nano: texts read aloud in every format, and recordings transcribed.

The ear of all word errors is antiphon-nano itself, through `/v1/audio/transcriptions`. It checks nothing.
"""

from __future__ import annotations

import argparse
import base64
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx
import openai
from tests.e2e.answers import STREAMED, said
from tests.e2e.process_usage import UsageWatch
from tests.e2e.server_process import MODEL, RunningServer, start_server, terminate

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_nano.domain import corpus
from antiphon_nano.judging import transcript

# Each of them with the arguments by which ffmpeg reads it.
FORMATS: dict[str, tuple[str, ...]] = {
    "mp3": (), "opus": (), "aac": (), "flac": (), "wav": (),
    "pcm": ("-f", "s16le", "-ar", str(OUTPUT_SAMPLE_RATE_HZ), "-ac", "1"),
}  # fmt: skip
VOICE = "heart"
MIB = 1 << 20
_CLIENTS = 2
_BYTES_PER_S = 2 * OUTPUT_SAMPLE_RATE_HZ
# Silence between joined recordings, and the length of one audio token.
_PAUSES_MS, _AUDIO_TOKEN_MS = (800, 1_200), 160


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-audio_routes", description=__doc__)
    parser.add_argument("--texts", type=int, default=200, help="held-out texts")
    parser.add_argument("--hours", type=float, default=1.0, help="length of the joined recording; 0: none")
    parser.add_argument("--leads", type=int, nargs="*", default=[], help="ms of silence before each")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        server = start_server(ANTIPHON_NANO, Path(folder) / "log", "--media-long", "--dtype", "auto")
        try:
            texts = list(corpus.held_out(given.texts))
            recordings = measure_speech(server, texts)
            if given.hours:
                measure_transcription(server, texts, recordings, given.hours)
            for lead_ms in given.leads:
                late = [silence(lead_ms) + pcm for pcm in recordings]
                heard = _each(late, lambda pcm: transcribe(server.client(), pcm))
                print_score(f"single recordings after {lead_ms} ms of silence", texts, heard)
        finally:
            terminate(server)
    return 0


def measure_speech(server: RunningServer, texts: Sequence[str]) -> list[bytes]:
    """Reads each text by the route, in one format after the other, and by a chat. Returns the PCM."""
    client = server.client()
    formats = list(islice(cycle(FORMATS), len(texts)))
    read, chatted = _alternating(client, texts, formats)
    recordings = [decode(sound, FORMATS[name]) for (_, sound), name in zip(read, formats, strict=True)]
    heard = _each(recordings, lambda pcm: transcribe(client, pcm))
    for name in FORMATS:
        own = [index for index, used in enumerate(formats) if used == name]
        found = transcript.score([texts[at] for at in own], [heard[at] for at in own])
        first_s, chat_s = (median(one[at][0] for at in own) for one in (read, chatted))
        print(
            f"speech, {name:>4}: {len(own)} texts, {found.errors} of {found.words} words wrong; first bytes "
            f"after {first_s * 1e3:.0f} ms, chat's after {chat_s * 1e3:.0f} ms, ratio {first_s / chat_s:.2f}",
            flush=True,
        )
    print_score("speech, all formats", texts, heard)
    chat_heard = _each([pcm for _, pcm, _ in chatted], lambda pcm: transcribe(client, pcm))
    print_score("chat's own speech, against what it said", [words for _, _, words in chatted], chat_heard)
    same = [at for at, text in enumerate(texts) if chatted[at][2] == text]
    for name, ear in (("route", heard), ("chat", chat_heard)):
        print_score(f"{len(same)} texts that chat said to the letter, {name}", *_chosen(same, texts, ear))
    return recordings


def _chosen(places: Sequence[int], *columns: Sequence[str]) -> list[list[str]]:
    return [[column[at] for at in places] for column in columns]


def _alternating(
    client: openai.OpenAI, texts: Sequence[str], formats: Sequence[str]
) -> tuple[list[tuple[float, bytes]], list[tuple[float, bytes, str]]]:
    read_aloud(client, texts[0], "pcm")
    chat_aloud(client, texts[0])
    read, chatted = [], []
    for text, name in zip(texts, formats, strict=True):
        read.append(read_aloud(client, text, name))
        chatted.append(chat_aloud(client, text))
    return read, chatted


def read_aloud(client: openai.OpenAI, text: str, format_name: str) -> tuple[float, bytes]:
    """Seconds to the first bytes, and the file."""
    began, first_s, sound = time.monotonic(), 0.0, b""
    speech = client.audio.speech.with_streaming_response
    with speech.create(model=MODEL, voice=VOICE, input=text, response_format=format_name) as answer:
        for piece in answer.iter_bytes():
            first_s = first_s or time.monotonic() - began
            sound += piece
    return first_s, sound


def chat_aloud(client: openai.OpenAI, text: str) -> tuple[float, bytes, str]:
    """Seconds to the first sound, the PCM, and the text that is spoken."""
    began, first_s, sound, words = time.monotonic(), 0.0, b"", ""
    audio = {"format": "pcm16", "voice": VOICE}
    question = said(f"Read aloud: {text}")
    for chunk in client.chat.completions.create(
        model=MODEL, messages=question, **{**STREAMED, "audio": audio}
    ):
        for choice in chunk.choices:
            spoken = choice.delta.audio
            if spoken is None:
                continue
            words += spoken.transcript or ""
            if spoken.data:
                first_s = first_s or time.monotonic() - began
                sound += base64.b64decode(spoken.data)
    return first_s, sound, words


def measure_transcription(
    server: RunningServer, texts: Sequence[str], recordings: Sequence[bytes], hours: float
) -> None:
    """Single recordings by the route and by chat; all of them joined until they last `hours`.

    A piece of the joined recording begins anywhere, so it is compared with single recordings that do so too.
    """
    client = server.client()
    heard = _each(recordings, lambda pcm: transcribe(client, pcm))
    by_chat = _each(recordings, lambda pcm: chat_transcript(client, pcm))
    same = sum(one == other for one, other in zip(heard, by_chat, strict=True))
    print(f"transcripts equal to chat's answers: {same} of {len(texts)}")
    print_score("single recordings", texts, heard)
    rng = random.Random(1)
    joined, meant, late, length_s = bytearray(), [], [], hours * 3_600
    for text, pcm in cycle(zip(texts, recordings, strict=True)):
        if len(joined) > length_s * _BYTES_PER_S:
            break
        joined += pcm + silence(rng.randrange(*_PAUSES_MS))
        late.append(silence(rng.randrange(_AUDIO_TOKEN_MS)) + pcm)
        meant.append(text)
    heard = _each(late, lambda pcm: transcribe(client, pcm))
    print_score(f"{len(late)} single recordings that begin anywhere in an audio token", meant, heard)
    file = as_flac(bytes(joined))
    began = time.monotonic()
    with UsageWatch(server) as memory:
        answer = httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            files={"file": ("joined.flac", file)},
            data={"model": MODEL, "chunking_strategy": "auto", "response_format": "verbose_json"},
            timeout=3_600,
        )
    answer.raise_for_status()
    found = answer.json()
    print(
        f"{len(joined) / _BYTES_PER_S:.0f} s joined: {time.monotonic() - began:.0f} s, "
        f"{len(found['segments'])} segments of {len(meant)} sentences, server and decoders "
        f"+{memory.growth('server', 'decoders') / MIB:.0f} MiB, "
        f"engines +{memory.growth('engine') / MIB:.0f} MiB"
    )
    print_score("joined", [" ".join(meant)], [found["text"]])


def transcribe(client: openai.OpenAI, pcm: bytes) -> str:
    return client.audio.transcriptions.create(model=MODEL, file=("a.wav", as_wav(pcm))).text


def chat_transcript(client: openai.OpenAI, pcm: bytes) -> str:
    part = {"data": base64.b64encode(as_wav(pcm)).decode(), "format": "wav"}
    asked = [{"type": "input_audio", "input_audio": part}, {"type": "text", "text": "Transcribe the audio."}]
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": asked}],
        temperature=0,
    )
    return answer.choices[0].message.content or ""


def print_score(name: str, meant: Sequence[str], heard: Sequence[str]) -> None:
    found = transcript.score(meant, heard)
    print(f"{name}: {found.errors} of {found.words} words wrong ({found.word_error_rate:.2f} %)", flush=True)


def silence(ms: int) -> bytes:
    return bytes(2 * (ms * OUTPUT_SAMPLE_RATE_HZ // 1_000))


def _each(items: Sequence[bytes], one: Callable[[bytes], str]) -> list[str]:
    with ThreadPoolExecutor(_CLIENTS) as pool:
        return list(pool.map(one, items))


def decode(sound: bytes, arguments: Sequence[str]) -> bytes:
    """16-bit PCM at the output rate."""
    return _ffmpeg(sound, *arguments, "-i", "-", "-f", "s16le", "-ar", str(OUTPUT_SAMPLE_RATE_HZ), "-ac", "1")


def as_wav(pcm: bytes) -> bytes:
    return _ffmpeg(pcm, *FORMATS["pcm"], "-i", "-", "-f", "wav")


def as_flac(pcm: bytes) -> bytes:
    """Smaller than a request's body may be, and as exact as the single recordings."""
    return _ffmpeg(pcm, *FORMATS["pcm"], "-i", "-", "-f", "flac")


def _ffmpeg(data: bytes, *arguments: str) -> bytes:
    command = ["ffmpeg", "-loglevel", "error", *arguments, "-"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    raise SystemExit(main())
