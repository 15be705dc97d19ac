"""vLLM's OpenAI server over `ScheduledOutputs` in place of its engine, as a process: CHECKPOINT STEP_S
PORT.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

import uvloop
from tests.bench.front_end.scheduled_outputs import ScheduledOutputs
from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.launchers.api_server.entry import build_and_serve
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.launchers.launcher import setup_server
from vllm.outputs import RequestOutput
from vllm.renderers import renderer_from_config
from vllm.sampling_params import SamplingParams
from vllm.tasks import SupportedTask
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.input_processor import InputProcessor

FLAGS = ("--enforce-eager", "--dtype", "float32", "--max-model-len", "4096", "--served-model-name", "echo")
# Ours logs no request at level warning either.
FLAGS += ("--disable-uvicorn-access-log", "--uvicorn-log-level", "warning")


class ScheduledClient(EngineClient):
    """An `EngineClient` without an engine. It does less for a request than `AsyncLLM`: no input processor."""

    def __init__(self, config: VllmConfig, step_s: float) -> None:
        self.vllm_config = config
        self.model_config = config.model_config
        self.renderer = renderer_from_config(config)
        self.input_processor = InputProcessor(config, self.renderer)
        self._outputs = ScheduledOutputs(step_s)

    def generate(
        self, prompt: Any, sampling_params: SamplingParams, request_id: str, **_: Any
    ) -> AsyncGenerator[RequestOutput]:
        return self._outputs.generate(prompt["prompt_token_ids"], sampling_params, request_id)

    async def get_supported_tasks(self) -> tuple[SupportedTask, ...]:
        return ("generate",)

    @property
    def is_running(self) -> bool:
        return True

    @property
    def is_stopped(self) -> bool:
        return False

    @property
    def errored(self) -> bool:
        return False

    @property
    def dead_error(self) -> BaseException:
        return RuntimeError("dead")

    def shutdown(self, timeout: float | None = None) -> None:
        pass


async def _unused(*_: Any, **__: Any) -> Any:
    raise NotImplementedError


def without_engine(client: type[ScheduledClient]) -> type[ScheduledClient]:
    """A concrete class: the rest of the protocol is not called by the benchmark."""
    rest = dict.fromkeys(client.__abstractmethods__, _unused)
    return type(client.__name__, (client,), rest)


async def serve(checkpoint: str, step_s: float, port: str) -> None:
    parser = make_arg_parser(FlexibleArgumentParser())
    args = parser.parse_args(["--model", checkpoint, "--host", "127.0.0.1", "--port", port, *FLAGS])
    validate_parsed_serve_args(args)
    config = AsyncEngineArgs.from_cli_args(args).create_engine_config(UsageContext.OPENAI_API_SERVER)
    address, sock = setup_server(args, reuse_port=False)
    client = without_engine(ScheduledClient)(config, step_s)
    await (await build_and_serve(client, address, sock, args))


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
