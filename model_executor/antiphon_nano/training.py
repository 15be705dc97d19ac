"""A resumable training loop: a stage can be killed at any moment and continues from its last checkpoint.

Checkpoints are safetensors. The random numbers of a step depend on the seed and the step's number alone, so a
resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from antiphon_nano.workers.worker import ALONE, Worker

Step = Callable[[int], Mapping[str, Tensor]]
"""The number of a step to its losses by name, for the log. The function also steps the optimizers."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """`path`: the checkpoint; `rate`: the peak learning rate, after `warmup` steps."""

    path: Path
    steps: int
    rate: float
    warmup: int = 100
    floor: float = 0.03
    seed: int = 0
    save_every_s: float = 180.0
    log_every: int = 100

    def rate_at(self, step: int) -> float:
        """Linear warm-up, then a half cosine to `floor` of the peak."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.rate * min(1.0, (step + 1) / self.warmup) * (self.floor + (1 - self.floor) * cosine)


def clipped_step(optimizer: Optimizer, loss: Tensor, norm: float = 1.0, worker: Worker = ALONE) -> None:
    """Backward pass, then `gradient_step`."""
    loss.backward()
    gradient_step(optimizer, norm, worker)


def gradient_step(optimizer: Optimizer, norm: float = 1.0, worker: Worker = ALONE) -> None:
    """Averages the gradients over the workers, clips them, steps, and clears them."""
    worker.average(parameter for group in optimizer.param_groups for parameter in group["params"])
    for group in optimizer.param_groups:
        nn.utils.clip_grad_norm_(group["params"], norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class Training:
    """Runs a plan once. `modules` and `optimizers`: by their names in the checkpoint."""

    def __init__(
        self,
        plan: TrainingPlan,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        worker: Worker = ALONE,
    ) -> None:
        self._plan = plan
        self._worker = worker
        self._modules = modules
        self._optimizers = optimizers
        self.done = 0
        self._seconds = 0.0
        if plan.path.exists():
            self._load()

    def run(self, step: Step) -> None:
        """Runs the remaining steps. Saves every few minutes, and at the end."""
        plan = self._plan
        saved = logged = time.monotonic()
        sums: dict[str, float] = {}
        counted = self.done
        for number in range(self.done, plan.steps):
            torch.manual_seed(plan.seed * 1_000_003 + number)
            for optimizer in self._optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = plan.rate_at(number) * group.get("share", 1.0)
            for name, loss in step(number).items():
                sums[name] = sums.get(name, 0.0) + float(loss.detach())
            self.done = number + 1
            now = time.monotonic()
            if self.done % plan.log_every == 0:
                self._log(sums, self.done - counted, now - logged)
                sums, logged, counted = {}, now, self.done
            if now - saved > plan.save_every_s:
                self._seconds += now - saved
                self.save()
                saved = time.monotonic()
        self._seconds += time.monotonic() - saved
        self.save()

    def save(self) -> None:
        """Writes the checkpoint atomically. All workers have the same state, so the first one writes."""
        if not self._worker.is_first:
            return
        tensors = {
            f"{name}/{key}": value.cpu().contiguous().clone()
            for name, module in self._modules.items()
            for key, value in module.state_dict().items()
        }
        for name, optimizer in self._optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer:{name}/{index}/{k}": v.cpu().contiguous() for k, v in state.items()}
        about = {"step": str(self.done), "steps": str(self._plan.steps), "seconds": f"{self._seconds:.0f}"}
        self._plan.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._plan.path.with_suffix(".partial")
        save_file(tensors, partial, about)
        partial.replace(self._plan.path)

    def _load(self) -> None:
        for name, module in self._modules.items():
            module.load_state_dict(weights(self._plan.path, name))
        with safe_open(self._plan.path, "pt") as file:
            about = file.metadata()
            keys = [key for key in file.keys() if key.startswith("optimizer:")]  # noqa: SIM118 - no mapping
            found = {key: file.get_tensor(key) for key in keys}
        for name, optimizer in self._optimizers.items():
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in found.items():
                owner, index, field = key.removeprefix("optimizer:").split("/")
                if owner == name:
                    states.setdefault(int(index), {})[field] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": states, "param_groups": groups})
        self.done, self._seconds = int(about["step"]), float(about["seconds"])
        if self._worker.is_first:
            print(f"resumed at step {self.done} of {self._plan.steps}", flush=True)

    def _log(self, sums: Mapping[str, float], steps: int, seconds: float) -> None:
        plan = self._plan
        if not self._worker.is_first:
            return
        means = " ".join(f"{name} {value / steps:.4f}" for name, value in sums.items())
        rate = steps / seconds
        left = (plan.steps - self.done) / rate / 60
        print(f"{self.done}/{plan.steps} {means} | {rate:.2f} steps/s, {left:.0f} min left", flush=True)


def best_device() -> torch.device:
    """A GPU if there is one. On a CPU, training uses the threads of the process."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 layers if that is faster. Without AVX-512, an encoder took eight times as long in bfloat16."""
    # It imports transformers, which takes as long as torch.
    from antiphon_executor.engine.dtype_selection import has_fast_bfloat16

    fast = device.type != "cpu" or has_fast_bfloat16()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def weights(path: Path, module: str) -> dict[str, Tensor]:
    """The state of one module of a checkpoint."""
    with safe_open(path, "pt") as file:
        prefix = f"{module}/"
        names = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 - no mapping
        return {key.removeprefix(prefix): file.get_tensor(key) for key in names}


def steps_done(path: Path) -> tuple[int, int, float]:
    """(steps done, steps in all, seconds) of a checkpoint; (0, 0, 0.0) if there is none."""
    if not path.exists():
        return 0, 0, 0.0
    with safe_open(path, "pt") as file:
        about = file.metadata()
    return int(about["step"]), int(about["steps"]), float(about["seconds"])
