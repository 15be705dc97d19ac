"""The real clients that talk to antiphon-nano, and how one of them is run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_server.cli.sample import write_samples
from tests.conformance import homes
from tests.conformance.homes import CannotInstall, Home

MODEL = "antiphon-nano"
_RUN_S = 600
_QUESTION, _SENTENCE = "What is seven plus five?", "I see a red circle."


@dataclass(frozen=True)
class Client:
    """`quick`: small enough to be installed and run in CI."""

    name: str
    script: str
    home: Home
    quick: bool = False


CLIENTS = (
    Client("openai (Python) 3", "sdk/openai_python.py", homes.OPENAI_3, quick=True),
    Client("openai (Python) 2", "sdk/openai_python.py", homes.OPENAI_2, quick=True),
    Client("openai (Node)", "sdk/openai_node.mjs", homes.OPENAI_NODE, quick=True),
    Client("Vercel AI", "sdk/vercel_ai.mjs", homes.VERCEL, quick=True),
    Client("litellm", "sdk/litellm_sdk.py", homes.LITELLM),
    Client("litellm proxy", "sdk/litellm_proxy.py", homes.LITELLM_PROXY),
    Client("llm", "agents/llm_command.py", homes.LLM),
    Client("LangChain", "agents/langchain_chat.py", homes.LANGCHAIN),
    Client("instructor", "agents/structured.py", homes.INSTRUCTOR),
    Client("pydantic-ai", "agents/pydantic_agent.py", homes.PYDANTIC_AI, quick=True),
    Client("openai-agents", "agents/agents_run.py", homes.OPENAI_AGENTS, quick=True),
    Client("LiveKit", "voice/livekit_plugin.py", homes.LIVEKIT),
    Client("Pipecat", "voice/pipecat_services.py", homes.PIPECAT),
    Client("LiveKit, realtime", "voice/livekit_realtime.py", homes.LIVEKIT),
    Client("Pipecat, realtime", "voice/pipecat_realtime.py", homes.PIPECAT),
    Client("Open WebUI's calls (aiohttp)", "voice/open_webui.py", homes.OWN, quick=True),
    Client("aiperf", "load/ai_perf.py", homes.AIPERF),
    Client("guidellm", "load/guide_llm.py", homes.GUIDELLM),
    Client("vllm bench serve", "load/vllm_bench.py", homes.VLLM_BENCH),
)


@dataclass(frozen=True)
class Outcome:
    """`failed`: what went wrong, by case; None where nothing did. `trouble`: why there are no cases."""

    version: str
    failed: Mapping[str, str | None]
    trouble: str = ""


def prepare(url: str, folder: Path) -> None:
    """The recordings and the picture that the clients send."""
    write_samples(folder)
    asked = ["espeak-ng", "-v", "en-us", "-s", "155", "-w", str(folder / "question.wav"), _QUESTION]
    subprocess.run(asked, check=True, timeout=30)
    body = {"model": MODEL, "input": _SENTENCE, "voice": "alloy", "response_format": "wav"}
    spoken = httpx.post(f"{url}/v1/audio/speech", json=body, timeout=60, verify=False)
    spoken.raise_for_status()
    # A file, as a client has it: a streamed header does not know its length.
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", "-", str(folder / "sentence.wav")],
        input=spoken.content,
        check=True,
        timeout=30,
    )


def run(client: Client, url: str, folder: Path) -> Outcome:
    """Installs the client if it is not there, and lets it talk to the server at `url`."""
    try:
        client.home.install()
    except CannotInstall as error:
        return Outcome("", {}, f"not installed: {error}")
    try:
        done = subprocess.run(
            client.home.command(client.script, url, str(folder)),
            env=client.home.environment(NANO_FOLDER=str(ANTIPHON_NANO)),
            capture_output=True,
            text=True,
            timeout=_RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome("", {}, f"no end after {_RUN_S} s")
    if done.returncode != 0 or not done.stdout.strip():
        return Outcome("", {}, f"exit code {done.returncode}: {done.stderr[-1_000:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Outcome(said["version"], said["cases"])
