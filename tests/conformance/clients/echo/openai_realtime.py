"""Talks to `/v1/realtime` with the `openai` package, and prints what came as one JSON object.

Arguments: the server's base URL.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

import openai

PUSH_TO_TALK: Any = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


async def said(connection: Any, text: str, **response: Any) -> dict[str, Any]:
    """A message and what its response has in it."""
    item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await connection.conversation.item.create(item=item)
    await connection.response.create(response=response or openai.omit)
    return await heard(connection)


async def heard(connection: Any) -> dict[str, Any]:
    pcm, transcript, kinds = "", "", []
    async for event in connection:
        kinds.append(event.type)
        if event.type == "response.output_audio.delta":
            pcm += event.delta
        elif event.type in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            transcript += event.delta
        elif event.type == "error":
            raise RuntimeError(event.error.message)
        elif event.type == "response.done":
            shown = event.response
            return {
                "id": shown.id,
                "status": shown.status,
                "pcm": base64.b64encode(base64.b64decode(pcm)).decode(),
                "transcript": transcript,
                "kinds": kinds,
                "output_tokens": shown.usage.output_tokens,
                "calls": [[one.name, one.arguments] for one in shown.output if one.type == "function_call"],
            }
    raise RuntimeError("the connection ended")


async def main(url: str) -> dict[str, Any]:
    client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
    results: dict[str, Any] = {"version": openai.__version__}
    async with client.realtime.connect(model="echo") as connection:
        await connection.session.update(session=PUSH_TO_TALK)
        results["spoken"] = await said(connection, "good morning")
        results["text"] = await said(connection, "hello", output_modalities=["text"])
        for _ in range(4):
            silence = base64.b64encode(bytes(4_800)).decode()
            await connection.input_audio_buffer.append(audio=silence)
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        results["pushed"] = await heard(connection)
        tool: Any = {"type": "function", "name": "add", "parameters": {"type": "object"}}
        call = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
        results["tool"] = await said(connection, call, tools=[tool])
        await connection.conversation.item.delete(item_id="none", event_id="mine")
        async for event in connection:
            if event.type == "error":
                results["error"] = [event.error.code, event.error.event_id]
                break
    secret = await client.realtime.client_secrets.create(session=PUSH_TO_TALK)
    short_lived = openai.AsyncOpenAI(base_url=url + "/v1", api_key=secret.value)
    async with short_lived.realtime.connect(model="echo") as connection:
        created = await connection.recv()
        results["secret"] = created.session.audio.input.turn_detection
    return results


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))
