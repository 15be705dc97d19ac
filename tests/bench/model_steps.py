"""Times the steps of one engine that runs in this process, without a server around it.

Arguments: a checkpoint, a stage and a question. Each line on stdin runs one request and prints one line of
JSON: its steps, and the times of the model and its parts. `bench_first_audio` runs it as a child process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from torch import nn
from transformers import AutoTokenizer
from vllm import SamplingParams
from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins
from vllm.v1.engine.llm_engine import LLMEngine

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.checkpoint.voices import list_voices
from antiphon_executor.engine.launch import stage_specs
from antiphon_executor.engine.talker_factory import make_talker
from antiphon_executor.interface.events import SpeechDelta
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.interface.settings import EngineSettings, TalkerSettings, ThinkerSettings
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.ipc.environment import prepare_environment
from antiphon_executor.stages.restart_policy import RestartPolicy
from antiphon_executor.stages.supervisor import SupervisedStage, WatchRules
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.speech_stream import SpeechStream, text_prompt

PARTS = {"model": "backbone", "code_predictor": "predictor", "code2wav": "vocoder"}
TEXT_TOKENS = 6
FRAMES = 4


@dataclass
class Step:
    """One engine step, in ms. `model_ms`: forward pass and logits; `parts`: the parts of a Talker by name."""

    step_ms: float = 0.0
    model_ms: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


class Stopwatch:
    """Adds up the times of a step's modules. On a GPU it waits for the device."""

    def __init__(self) -> None:
        self.step = Step()

    def install(self, model: nn.Module) -> None:
        logits = cast(Any, model).compute_logits
        model.compute_logits = self._timed(logits, self._add_model)
        model.forward = self._timed(model.forward, self._add_model)  # type: ignore[method-assign]
        for attribute, name in PARTS.items():
            part = getattr(model, attribute, None)
            if isinstance(part, nn.Module) and hasattr(model, "code2wav"):
                part.forward = self._timed(part.forward, lambda ms, name=name: self._add_part(name, ms))  # type: ignore[method-assign, misc]

    def _timed(self, call: Callable[..., Any], add: Callable[[float], None]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = call(*args, **kwargs)
            if current_platform.is_cuda():
                current_platform.synchronize()
            add((time.perf_counter() - began) * 1e3)
            return result

        return timed

    def _add_model(self, ms: float) -> None:
        self.step.model_ms += ms

    def _add_part(self, name: str, ms: float) -> None:
        self.step.parts[name] = self.step.parts.get(name, 0.0) + ms


class StepEngine:
    """Stands in for `stage.Stage` in a Talker's sessions; its steps run in the event loop."""

    def __init__(self, engine: LLMEngine) -> None:
        self.llm = engine
        self.alive = True
        self.steps: list[Step] = []
        self._watch = Stopwatch()
        self._requests = 0
        engine.apply_model(self._watch.install)

    async def generate(self, prompt: Any, params: SamplingParams, request_id: str) -> AsyncGenerator[Any]:
        self._requests += 1
        self.llm.add_request(f"{request_id}-{self._requests}", prompt, params)
        while self.llm.has_unfinished_requests():
            self._watch.step = step = Step()
            began = time.perf_counter()
            outputs = self.llm.step()
            step.step_ms = (time.perf_counter() - began) * 1e3
            if step.model_ms:
                self.steps.append(step)
            for output in outputs:
                yield output
            await asyncio.sleep(0)

    async def run_session(
        self, inputs: AsyncGenerator[Any], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[Any]:
        """Runs the first input only, which is enough for the first frames."""
        first = await anext(inputs)
        prompt = {"prompt_token_ids": list(first.prompt["prompt_token_ids"])}
        async with aclosing(self.generate(prompt, first.sampling_params, request_id)) as outputs:
            async for output in outputs:
                yield output


Request = Callable[[], Awaitable[None]]


def thinking(engine: StepEngine, prompt: list[int]) -> Request:
    params = SamplingParams(temperature=0, max_tokens=TEXT_TOKENS, ignore_eos=True)

    async def think() -> None:
        async with aclosing(engine.generate({"prompt_token_ids": prompt}, params, "think")) as outputs:
            async for _ in outputs:
                pass

    return think


def speaking(engine: StepEngine, settings: EngineSettings, prompt: list[int], bridge: Bridge) -> Request:
    config, slots = read_config(settings.model), SlotTracker(settings.talker.streams, 1000)
    watch = WatchRules(RestartPolicy(0), 60.0, 3.0)
    stage: Any = SupervisedStage("talker", cast(Any, engine), _never, watch, lambda death: None)
    talker = make_talker(settings, config, stage, bridge, slots)
    voice = next(voice.id for voice in list_voices(settings.model, config, None) if voice.default)
    words = [token for token in prompt if token < 300][:8]

    async def speak() -> None:
        with ExitStack() as leases:
            slot = leases.enter_context(slots.lease_slot())
            sampling = SpeechSampling(voice, temperature=0, seed=1, max_frames=FRAMES)
            stream = SpeechStream("speak", sampling, talker, bridge, slot)
            leases.callback(stream.close)
            stream.set_prompt(text_prompt(prompt))
            stream.add_text(words, final=True)
            heard = [event async for event in stream.events()]
            assert any(isinstance(event, SpeechDelta) for event in heard)

    return speak


async def _never() -> Any:
    raise RuntimeError("an engine of a benchmark is started once")


async def run(checkpoint: Path, stage: str, question: str, flags: EngineSettings) -> None:
    load_general_plugins()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    prompt = tokenizer.encode(text)
    folder = SocketFolder()
    prepare_environment(folder.path, on_cpu=current_platform.is_cpu(), streams=flags.talker.streams)
    async with Bridge(folder) as bridge:
        (plan,) = (plan for plan in stage_specs(flags, read_config(checkpoint), folder) if plan.name == stage)
        engine = StepEngine(LLMEngine.from_engine_args(plan.arguments))
        request = thinking(engine, prompt) if stage == "thinker" else speaking(engine, flags, prompt, bridge)
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            engine.steps.clear()
            await request()
            print(json.dumps([asdict(step) for step in engine.steps]), flush=True)
    folder.close()


def main() -> None:
    checkpoint, stage, question = sys.argv[1:]
    settings = EngineSettings(
        model=Path(checkpoint),
        thinker=ThinkerSettings(max_model_len=4096, dtype="auto"),
        talker=TalkerSettings(max_model_len=4096, dtype="auto", streams=8),
    )
    asyncio.run(run(Path(checkpoint), stage, question, settings))
    # vLLM's threads would keep the process alive.
    os._exit(0)


if __name__ == "__main__":
    main()
