"""Talks to a server with the `litellm` package and prints the answers as one JSON object.

Arguments: the server's base URL. Runs alone; needs only `litellm`.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # type: ignore[import-not-found]  # lives in a folder of its own

SPOKEN: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "pcm16"}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


def ask(url: str, text: str, **fields: Any) -> Any:
    return litellm.completion(
        model="openai/echo",
        api_base=url + "/v1",
        api_key="none",
        messages=[{"role": "user", "content": text}],
        num_retries=0,
        **fields,
    )


def spoken(url: str) -> dict[str, Any]:
    answer = ask(url, "good morning", **SPOKEN)
    audio = answer.choices[0].message.audio
    return {"id": answer.id, "transcript": audio.transcript, "pcm": audio.data}


def streamed_text(url: str) -> dict[str, Any]:
    chunks = list(ask(url, "hello", stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    usage = next(chunk.usage for chunk in reversed(chunks) if getattr(chunk, "usage", None))
    return {"text": text, "usage": usage.model_dump()}


def rebuilt(url: str) -> dict[str, Any]:
    """litellm's own rebuilder of streamed answers."""
    chunks = list(ask(url, "good night", stream=True, **SPOKEN))
    answer = litellm.stream_chunk_builder(chunks)
    audio = answer.choices[0].message.audio
    data = base64.b64encode(base64.b64decode(audio.data)).decode()
    return {"id": answer.id, "transcript": audio.transcript, "pcm": data}


def streamed(url: str) -> dict[str, Any]:
    answer_id = transcript = data = ""
    for chunk in ask(url, "good evening", stream=True, **SPOKEN):
        answer_id = chunk.id
        audio = getattr(chunk.choices[0].delta, "audio", None) or {}
        transcript += audio.get("transcript") or ""
        data += audio.get("data") or ""
    return {
        "id": answer_id,
        "transcript": transcript,
        "pcm": base64.b64encode(base64.b64decode(data)).decode(),
    }


def tool(url: str) -> dict[str, Any]:
    answer = litellm.stream_chunk_builder(list(ask(url, CALL, stream=True, tools=TOOLS)))
    call = answer.choices[0].message.tool_calls[0].function
    return {"name": call.name, "arguments": call.arguments, "reason": answer.choices[0].finish_reason}


def fault(url: str) -> str:
    try:
        list(ask(url, "please fail", stream=True))
    except (litellm.exceptions.APIError, litellm.exceptions.MidStreamFallbackError) as error:
        return "internal_error" if "internal server error" in str(error) else str(error)
    return "nothing was raised"


def refused(url: str) -> dict[str, Any]:
    try:
        ask(url, "x", modalities=["text", "audio"], audio={"voice": "?", "format": "wav"})
    except litellm.BadRequestError as error:
        return {"status": error.status_code}
    return {}


if __name__ == "__main__":
    url = sys.argv[1]
    results = {
        "version": importlib.metadata.version("litellm"),
        "text": ask(url, "hello world").choices[0].message.content,
        "streamed_text": streamed_text(url),
        "spoken": spoken(url),
        "helper": rebuilt(url),
        "streamed": streamed(url),
        "tool": tool(url),
        "refused": refused(url),
        "fault": fault(url),
    }
    print("\n" + json.dumps(results))
