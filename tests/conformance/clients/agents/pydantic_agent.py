"""pydantic-ai with its default for `openai:`, the responses route: text, stream, a typed output, a tool."""

from __future__ import annotations

from harness import ANSWER, MODEL, QUESTION, report
from pydantic import BaseModel
from pydantic_ai import Agent

SERVED = f"openai:{MODEL}"


class Lamp(BaseModel):
    """The lamp."""

    on: bool


async def default_model() -> None:
    result = await Agent(SERVED).run(QUESTION)
    assert result.output == ANSWER
    usage = result.usage() if callable(result.usage) else result.usage
    assert usage.output_tokens > 2


async def default_stream() -> None:
    async with Agent(SERVED).run_stream(QUESTION) as result:
        pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == ANSWER


async def typed_output() -> None:
    result = await Agent(SERVED, output_type=Lamp).run(QUESTION)
    assert isinstance(result.output, Lamp)


async def chat_model() -> None:
    assert (await Agent(f"openai-chat:{MODEL}").run(QUESTION)).output == ANSWER


if __name__ == "__main__":
    report("pydantic-ai-slim", default_model, default_stream, typed_output, chat_model)
