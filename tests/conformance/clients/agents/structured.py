"""`instructor` in its default mode (tools) and by JSON schema, whole and as a growing object."""

from __future__ import annotations

from typing import Any

import instructor
import openai
from harness import BASE, KEY, MESSAGES, MODEL, report
from pydantic import BaseModel, ConfigDict

client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)


class Lamp(BaseModel):
    """The lamp. antiphon-nano, which has learned no JSON, would add properties without end."""

    model_config = ConfigDict(extra="forbid")
    on: bool


def default_mode() -> None:
    create: Any = instructor.from_openai(client).chat.completions.create
    lamp = create(model=MODEL, response_model=Lamp, messages=MESSAGES, max_retries=0)
    assert isinstance(lamp, Lamp)


def json_schema() -> None:
    create: Any = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA).chat.completions.create
    assert isinstance(create(model=MODEL, response_model=Lamp, messages=MESSAGES, max_retries=0), Lamp)


def partial_stream() -> None:
    create: Any = instructor.from_openai(client).chat.completions.create_partial
    lamps = list(create(model=MODEL, response_model=Lamp, messages=MESSAGES, max_retries=0))
    assert lamps[-1].on in (True, False)


if __name__ == "__main__":
    report("instructor", default_mode, json_schema, partial_stream)
