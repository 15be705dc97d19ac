"""Talks to a server with the `openai` package, 2.x or 3.x, and prints the answers as one JSON object.

Arguments: the server's base URL. Runs by itself, also where only `openai` is installed.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import openai

SPOKEN: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "pcm16"}}
TOOLS: Any = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def field(thing: Any, name: str) -> Any:
    """`delta.audio` is a dict in openai 2.x and an object in 3.x."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def repack(text: str) -> str:
    """Decode base64 that was concatenated, as the SDKs' own helpers leave it to their users."""
    return base64.b64encode(base64.b64decode(text)).decode()


class Caller:
    def __init__(self, url: str) -> None:
        self.client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
        self.create: Any = self.client.chat.completions.create

    def version(self) -> str:
        return openai.__version__

    def models(self) -> list[str]:
        return [model.id for model in self.client.models.list()]

    def text(self) -> str:
        return self.create(model="echo", messages=said("hello world")).choices[0].message.content

    def streamed_text(self) -> dict[str, Any]:
        chunks = list(
            self.create(
                model="echo", messages=said("hello"), stream=True, stream_options={"include_usage": True}
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        return {"text": text, "usage": chunks[-1].usage.model_dump()}

    def spoken(self) -> dict[str, Any]:
        answer = self.create(model="echo", messages=said("good morning"), **SPOKEN)
        audio = answer.choices[0].message.audio
        return {"id": answer.id, "transcript": audio.transcript, "pcm": audio.data}

    def streamed(self) -> dict[str, Any]:
        transcript = data = ""
        answer_id = ""
        for chunk in self.create(model="echo", messages=said("good evening"), stream=True, **SPOKEN):
            answer_id = chunk.id
            audio = getattr(chunk.choices[0].delta, "audio", None)
            if audio is not None:
                transcript += field(audio, "transcript") or ""
                data += field(audio, "data") or ""
        return {"id": answer_id, "transcript": transcript, "pcm": repack(data)}

    def helper(self) -> dict[str, Any]:
        with self.client.chat.completions.stream(
            model="echo", messages=said("good night"), **SPOKEN
        ) as stream:
            answer = stream.get_final_completion()
        audio = answer.choices[0].message.audio
        transcript, data = field(audio, "transcript"), field(audio, "data")
        return {"id": answer.id, "transcript": transcript, "pcm": repack(data)}

    def tool(self) -> dict[str, Any]:
        with self.client.chat.completions.stream(model="echo", messages=said(CALL), tools=TOOLS) as stream:
            choice = stream.get_final_completion().choices[0]
        call = (choice.message.tool_calls or [])[0].function
        return {"name": call.name, "arguments": call.arguments, "reason": choice.finish_reason}

    def files(self) -> dict[str, Any]:
        """An upload, all that can be done with it, and its use."""
        files = self.client.files
        png = base64.b64decode(PNG)
        made = files.create(file=("red.png", png), purpose="user_data")
        short: Any = {"anchor": "created_at", "seconds": 3600}
        other = files.create(file=("b.png", png), purpose="user_data", expires_after=short)
        part: Any = {"type": "file", "file": {"file_id": made.id}}
        content: Any = [{"type": "text", "text": "look"}, part]
        answer = self.create(model="echo", messages=[{"role": "user", "content": content}])
        result = {
            "same": files.retrieve(made.id) == made,
            "bytes": made.bytes,
            "names": sorted(file.filename for file in files.list(limit=1)),
            "lifetime": other.expires_at - other.created_at,
            "content": files.content(made.id).read() == png,
            "text": answer.choices[0].message.content,
            "deleted": [files.delete(file.id).deleted for file in (made, other)],
        }
        try:
            files.retrieve(made.id)
        except openai.NotFoundError as error:
            result["gone"] = str(error.code)
        return result

    def speech(self) -> dict[str, Any]:
        """The same text twice: whole, and in pieces as they come."""
        create: Any = self.client.audio.speech
        said: Any = {"model": "tts-1", "voice": "alloy", "input": "read me", "response_format": "pcm"}
        whole = create.create(**said).content
        with create.with_streaming_response.create(**said) as answer:
            kind = answer.headers["content-type"]
            streamed = b"".join(answer.iter_bytes())
        mp3 = create.create(model="gpt-4o-mini-tts", voice="ash", input="read me").content
        pcm = [base64.b64encode(one).decode() for one in (whole, streamed)]
        return {"pcm": pcm, "kind": kind, "mp3": len(mp3)}

    def broken_speech(self) -> str:
        try:
            self.client.audio.speech.create(
                model="tts-1", voice="alloy", input="please fail", response_format="pcm"
            )
        except Exception as error:  # 2.x passes httpx's own
            return type(error).__name__
        return "nothing was raised"

    def transcript(self) -> dict[str, Any]:
        """Of a silent recording, in every form."""
        create: Any = self.client.audio.transcriptions.create
        asked: Any = {"model": "whisper-1", "file": ("silence.wav", b"RIFF")}
        verbose = create(**asked, response_format="verbose_json", timestamp_granularities=["segment"])
        return {
            "json": create(**asked).text,
            "text": create(**asked, response_format="text"),
            "srt": create(**asked, response_format="srt"),
            "duration": verbose.duration,
            "stream": [event.type for event in create(**asked, stream=True)],
        }

    def refused(self) -> dict[str, Any]:
        try:
            self.create(
                model="echo", messages=said("x"), **SPOKEN | {"audio": {"voice": "?", "format": "wav"}}
            )
        except openai.BadRequestError as error:
            return {"status": error.status_code, "param": error.param, "has_id": bool(error.request_id)}
        return {}

    def fault(self) -> str:
        try:
            list(self.create(model="echo", messages=said("please fail"), stream=True))
        except openai.APIError as error:
            return str(error.code)
        return "nothing was raised"


if __name__ == "__main__":
    caller = Caller(sys.argv[1])
    spoken = [caller.spoken, caller.streamed, caller.helper]
    others = [caller.version, caller.models, caller.text, caller.streamed_text, caller.tool, caller.files]
    others += [caller.speech, caller.transcript]
    failing = [caller.refused, caller.fault, caller.broken_speech]
    print(json.dumps({case.__name__: case() for case in [*spoken, *others, *failing]}))
