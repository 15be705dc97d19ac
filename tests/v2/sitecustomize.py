"""Makes vLLM choose its V2 model runner on a CPU. Python imports it first if its folder is on PYTHONPATH.

CUDA gets V2, a CPU gets V1, because V2's small Triton kernels need a backend. Here they are interpreted. The
end of a Talker's step runs in the buckets of its CUDA graphs, each computed again in place of a replay.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Of the step in which vLLM's warm-up mixes a prompt with a request that decodes.
MIXED_TOKENS = 12


def _interpret(module: ModuleType) -> None:
    """vLLM's module that decides about Triton says that it is there."""
    module.HAS_TRITON = True  # type: ignore[attr-defined]
    import triton  # noqa: F401 - Triton's own functions must be decorated before the interpreter is on

    os.environ["TRITON_INTERPRET"] = "1"


def _cast_masks(module: ModuleType) -> None:
    """The interpreter takes no mask that is a number, as vLLM's kernels of grammars have; a GPU does."""
    builder: Any = module.InterpreterBuilder  # type: ignore[attr-defined]
    loads, stores = builder.create_masked_load, builder.create_masked_store

    def cast(mask: Any) -> Any:
        return module.TensorHandle(mask.data.astype(bool), mask.dtype)  # type: ignore[attr-defined]

    def load(self: Any, ptrs: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        return loads(self, ptrs, cast(mask), *rest, **named)

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        return stores(self, ptrs, value, cast(mask), *rest, **named)

    builder.create_masked_load, builder.create_masked_store = load, store


def _sort(module: ModuleType) -> None:
    """vLLM's kernel of top-k and top-p loops over numbers that the interpreter does not make tensors of."""
    module.HAS_TRITON = False  # type: ignore[attr-defined]


def _count_nans(module: ModuleType) -> None:
    """vLLM's kernel calls the device's library, which the interpreter does not have."""

    def get_num_nans(logits: Any) -> Any:
        return logits.isnan().sum(dim=-1).int()

    module.get_num_nans = get_num_nans  # type: ignore[attr-defined]


def _capture(module: ModuleType) -> None:
    """Our model states capture as soon as there is a cache; on a CPU vLLM captures nothing."""
    state: Any = module._SlotsByRequest  # type: ignore[attr-defined]
    allocated = state.initialize_kv_cache

    def initialize(self: Any, kv_cache_config: Any, block_tables: Any) -> None:
        allocated(self, kv_cache_config, block_tables)
        self.capture_inner_cudagraphs(None, block_tables, [], kv_cache_config)

    state.initialize_kv_cache = initialize
    module.cuda_capture = lambda: _recomputed  # type: ignore[attr-defined]


def _recomputed(run: Callable[[], Any]) -> Any:
    from antiphon_executor.models.talker.step.frame_graphs import Captured

    outputs = run()

    def replay() -> None:
        for old, new in zip(_tensors(outputs), _tensors(run()), strict=True):
            old.copy_(new)

    return Captured(replay, outputs)


def _tensors(outputs: Any) -> list[Any]:
    return [getattr(outputs, name) for name in outputs.__dataclass_fields__]


def _warm_up(module: ModuleType) -> None:
    """vLLM warms up on a GPU alone. With ANTIPHON_TEST_WARMED, a file that lists the models, here too."""
    worker: Any = module.CPUWorker  # type: ignore[attr-defined]
    compiled = worker.compile_or_warm_up_model

    def compile_or_warm_up(self: Any) -> Any:
        from vllm.v1.worker.gpu.warmup import run_mixed_prefill_decode_warmup, warmup_kernels

        times = compiled(self)
        listed = os.environ.get("ANTIPHON_TEST_WARMED")
        if not listed:
            return times
        steps = (self.model_runner, self.execute_model, self.sample_tokens)
        warmup_kernels(*steps)
        assert run_mixed_prefill_decode_warmup(*steps, MIXED_TOKENS)
        with open(listed, "a") as file:  # noqa: PTH123 - pathlib is not imported yet
            print(type(self.model_runner.model).__name__, file=file)
        return times

    worker.compile_or_warm_up_model = compile_or_warm_up


def _schedule_ahead(module: ModuleType) -> None:
    """With ANTIPHON_TEST_ASYNC vLLM schedules a step while one runs, as on a GPU; a CPU takes that back."""
    platform: Any = module.CpuPlatform  # type: ignore[attr-defined]
    update = platform.check_and_update_config.__func__

    def check_and_update_config(cls: Any, vllm_config: Any) -> None:
        update(cls, vllm_config)
        if not os.environ.get("ANTIPHON_TEST_ASYNC"):
            return
        from antiphon_executor.scheduling import thinker_scheduler as ours

        scheduling = vllm_config.scheduler_config
        scheduling.async_scheduling = True
        if scheduling.scheduler_cls is ours.ThinkerScheduler:
            scheduling.scheduler_cls = ours.AsyncThinkerScheduler

    platform.check_and_update_config = classmethod(check_and_update_config)


_AFTERWARDS = {
    "vllm.triton_utils.importing": _interpret,
    "triton.runtime.interpreter": _cast_masks,
    "vllm.v1.sample.ops.topk_topp_sampler": _sort,
    "vllm.v1.worker.gpu.metrics.logits": _count_nans,
    "vllm.platforms.cpu": _schedule_ahead,
    "vllm.v1.worker.cpu_worker": _warm_up,
    "antiphon_executor.models.talker.step.model_state": _capture,
}


class _Changing(Loader):
    """A module's own loader; then the module is changed."""

    def __init__(self, inner: Loader, change: Callable[[ModuleType], None]) -> None:
        self._inner, self._change = inner, change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        self._change(module)


class _Finder(MetaPathFinder):
    """Finds each of those modules, once."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = _AFTERWARDS.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Changing(spec.loader, change)
        return spec


sys.meta_path.insert(0, _Finder())
