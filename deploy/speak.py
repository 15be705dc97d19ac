"""Ask a running server for one spoken answer and check that there is sound: `speak.py URL KEY`."""

from __future__ import annotations

import base64
import io
import json
import sys
import urllib.request
import wave

QUESTION = {
    "model": "",
    "messages": [{"role": "user", "content": "Say hello."}],
    "modalities": ["text", "audio"],
    "audio": {"format": "wav"},
    "max_tokens": 16,
}


def ask(url: str, key: str, body: dict[str, object] | None = None) -> dict:  # type: ignore[type-arg]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def main(url: str, key: str) -> None:
    model = ask(f"{url}/v1/models", key)["data"][0]["id"]
    message = ask(f"{url}/v1/chat/completions", key, {**QUESTION, "model": model})["choices"][0]["message"]
    with wave.open(io.BytesIO(base64.b64decode(message["audio"]["data"]))) as sound:
        seconds = sound.getnframes() / sound.getframerate()
    sys.stdout.write(f"{model} spoke for {seconds:.2f} s: {message['audio']['transcript']!r}\n")
    if seconds <= 0:
        raise SystemExit("an answer without sound")


if __name__ == "__main__":
    main(*sys.argv[1:3])
