"""vLLM's CPU worker, extended so that requests with a seed may have a prompt of several steps.

After a prefill step whose sample is discarded, vLLM resets the generator's offset. CPU generators have no
offset, so the engine crashed. This worker restores their state; a seed gives the same answer in any chunking.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.outputs import SamplerOutput
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm.v1.worker.cpu_worker import CPUWorker
from vllm.v1.worker.worker_base import CompilationTimes

from antiphon_executor.ipc.environment import may_change_threads, threads_alone, threads_of_a_stage
from antiphon_executor.ipc.stage_activity import activity_of
from antiphon_executor.stages.core_share import CoreShare

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.worker.cpu_model_runner.CPUModelRunner": (
        "_sample(logits, spec_decode_metadata)",
        "_bookkeeping_sync(scheduler_output, sampler_output, logits, hidden_states, num_scheduled_tokens)",
        "discard_request_mask",
        "input_batch",
    ),
    "vllm.v1.worker.gpu_input_batch.InputBatch": (
        "generators",
        "num_reqs",
    ),
    "vllm.v1.worker.cpu_worker.CPUWorker": (
        "compile_or_warm_up_model()",
        "execute_model(scheduler_output)",
        "init_device()",
        "device",
        "model_runner",
        "use_v2_model_runner",
        "vllm_config",
    ),
}

CPU_WORKER = "antiphon_executor.stages.cpu_worker.SeededWorker"


class SeededRunner(CPUModelRunner):
    """After sampling, restores the generators of requests whose prompt is not complete."""

    def _sample(self, logits: Tensor | None, *args: Any, **kwargs: Any) -> SamplerOutput:
        batch = self.input_batch
        incomplete = np.nonzero(self.discard_request_mask.np[: batch.num_reqs])[0].tolist()
        generators = [batch.generators[row] for row in incomplete if row in batch.generators]
        states = [generator.get_state() for generator in generators]
        output = super()._sample(logits, *args, **kwargs)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        return output

    def _bookkeeping_sync(self, *args: Any, **kwargs: Any) -> Any:
        generators, self.input_batch.generators = self.input_batch.generators, {}
        try:
            return super()._bookkeeping_sync(*args, **kwargs)
        finally:
            self.input_batch.generators = generators


class SeededWorker(CPUWorker):
    """The worker class for `worker_cls` on a CPU. Uses the Talker's cores while no stream plays."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        transfer = self.vllm_config.kv_transfer_config
        activity = activity_of(transfer and transfer.kv_connector_extra_config)
        self._core_share: CoreShare | None = None
        if activity is not None and may_change_threads():
            self._core_share = CoreShare(activity, threads_of_a_stage(), threads_alone())

    def init_device(self) -> None:
        super().init_device()
        if self.use_v2_model_runner:
            return
        self.model_runner = SeededRunner(self.vllm_config, self.device)

    def compile_or_warm_up_model(self) -> CompilationTimes:
        """After it the model is compiled. Functions that a later request would compile run eagerly."""
        times = super().compile_or_warm_up_model()
        torch.compiler.set_stance("force_eager")
        return times

    def execute_model(self, scheduler_output: SchedulerOutput) -> Any:
        if self._core_share is not None:
            self._core_share.adjust()
        return super().execute_model(scheduler_output)
