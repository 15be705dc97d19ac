"""litellm's proxy in front of the server, asked with its own copy of the `openai` package."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import openai
from harness import (
    ANSWER,
    BASE,
    KEY,
    MESSAGES,
    MODEL,
    QUESTION,
    SENTENCE,
    SENTENCE_WAV,
    report,
    same_words,
    spoken,
)

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
# It does not start without one.
SECRET = "sk-conformance-0123456789abcdef"
client = openai.OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key=SECRET, max_retries=0)


def chat_stream() -> None:
    create: Any = client.chat.completions.create
    chunks = list(
        create(model="nano", messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert any(chunk.usage and chunk.usage.completion_tokens > 2 for chunk in chunks)


def speech() -> None:
    spoken(client.audio.speech.create(model="tts", voice="alloy", input=SENTENCE).content)


def transcript() -> None:
    with SENTENCE_WAV.open("rb") as file:
        same_words(client.audio.transcriptions.create(model="stt", file=file).text)


def responses() -> None:
    assert client.responses.create(model="nano", input=QUESTION).output_text == ANSWER


def served(name: str, model: str) -> dict[str, Any]:
    parameters = {"model": f"openai/{model}", "api_base": BASE, "api_key": KEY}
    return {"model_name": name, "litellm_params": parameters}


def main() -> None:
    settings = Path(tempfile.mkdtemp()) / "proxy.yaml"
    listed = [served("nano", MODEL), served("tts", "tts-1"), served("stt", "whisper-1")]
    settings.write_text(json.dumps({"model_list": listed}))
    command = [str(Path(sys.executable).parent / "litellm"), "--config", str(settings), "--port", str(PORT)]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": SECRET}
    proxy = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=sys.stderr, env=environment)
    try:
        wait_until_it_answers(proxy)
        report("litellm", chat_stream, speech, transcript, responses, then=proxy.kill)
    finally:
        proxy.kill()


def wait_until_it_answers(proxy: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while proxy.poll() is None and time.monotonic() < deadline:
        try:
            client.models.list()
        except openai.APIConnectionError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError("the proxy did not start")


if __name__ == "__main__":
    main()
