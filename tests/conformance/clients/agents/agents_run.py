"""openai-agents with its default model class, the responses route: text, stream, a loop with a tool."""

from __future__ import annotations

import agents
from harness import ANSWER, MODEL, QUESTION, report

agents.set_tracing_disabled(True)
CALLS: list[bool] = []


@agents.function_tool
def switch(on: bool) -> str:
    """Switch the lamp."""
    CALLS.append(on)
    return "done"


async def default_run() -> None:
    result = await agents.Runner.run(agents.Agent("Nano", model=MODEL), QUESTION)
    assert result.final_output == ANSWER
    assert result.context_wrapper.usage.output_tokens > 2


async def default_stream() -> None:
    result = agents.Runner.run_streamed(agents.Agent("Nano", model=MODEL), QUESTION)
    pieces = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(pieces) == result.final_output == ANSWER


async def tool_loop() -> None:
    """The call is forced; its result goes back, and a text ends the run."""
    settings = agents.ModelSettings(tool_choice="required", max_tokens=48)
    agent = agents.Agent("Nano", model=MODEL, tools=[switch], model_settings=settings)
    result = await agents.Runner.run(agent, QUESTION, max_turns=3)
    assert len(CALLS) == 1
    assert isinstance(result.final_output, str)


if __name__ == "__main__":
    report("openai-agents", default_run, default_stream, tool_loop)
