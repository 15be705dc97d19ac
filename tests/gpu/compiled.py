"""Compiles the Triton kernels of a whole Talker step for NVIDIA targets, with the ptxas of Triton's wheel.

`python -m tests.gpu.compiled --targets 80,90 --dtypes bfloat16,float32` prints a table; `--json` writes it.
Exit code 1 if a kernel spills or does not compile, or a product uses no tensor cores.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from antiphon_executor.models.talker.step.frame_graphs import Captured
from tests.gpu.launches import Launches, Specialisation, counting, joined
from tests.gpu.released_step import ReleasedStep

T = TypeVar("T")
BATCHES = (1, 2, 3, 4, 5, 8, 9, 12, 16, 17, 24, 32, 64)
_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
# `RequestSlots.enter`, and the copy of `FrameSender.send`, which need a device.
SLOTS, COPIES = 1, 1
_TENSOR_CORES = re.compile(r"wgmma\.mma_async|mma\.sync|tcgen05\.mma")


@dataclass(frozen=True)
class Built:
    """A kernel for one target. `spilled_bytes`: of local memory a thread; `tensor_core`: instructions."""

    kernel: str
    constants: str
    dtype: str
    target: int
    registers: int
    shared_bytes: int
    spilled_bytes: int
    tensor_core: int


@dataclass(frozen=True)
class Counted:
    """Launches of a step's end at one batch.

    `begin`: before the backbone, in vLLM's graph of a decoding step. `outside`: behind it, around our graphs,
    with the slots of the batch and the copy to the host; `inside`: in both. `from_host`: operations that
    would wait. `moved_bytes`: what its kernels read and write.
    """

    batch: int
    begin: int
    outside: int
    inside: int
    from_host: int
    new_specialisations: int
    moved_bytes: int


def count_steps(dtype: torch.dtype, batches: Sequence[int] = BATCHES) -> tuple[list[Counted], Launches]:
    """Captures and runs a step of each batch on the meta device: nothing is computed or read on the host."""
    step = ReleasedStep(max(batches), torch.device("meta"), dtype)
    captured: list[Launches] = []

    def capture(run: Callable[[], T]) -> Captured[T]:
        with counting() as inside:
            outputs = run()
        captured.append(inside)
        return Captured(lambda: None, outputs)

    step.step.graphs.capture(max(batches), lambda: capture)
    # Of each bucket the draw, and then the sound.
    both = [joined(*pair) for pair in zip(captured[::2], captured[1::2], strict=True)]
    by_bucket = dict(zip(reversed(step.step.graphs.sizes), both, strict=True))
    counted: list[Counted] = []
    known: dict[str, Specialisation] = {}
    for batch in batches:
        inside = by_bucket[next(size for size in step.step.graphs.sizes if size >= batch)]
        with counting() as before:
            step.begin(batch)
        hidden = step.hidden(batch)
        with counting() as around:
            step.step.finish(hidden)
        found = before.specialisations | around.specialisations | inside.specialisations
        from_host = sum(one.from_host.total() for one in (before, around, inside))
        counted.append(
            Counted(
                batch=batch,
                begin=before.total,
                outside=around.total + COPIES + SLOTS,
                inside=inside.total,
                from_host=from_host,
                new_specialisations=len(found.keys() - known.keys()),
                moved_bytes=sum(one.moved_bytes for one in (before, around, inside)),
            )
        )
        known |= found
    return counted, Launches(both[0].by_name, specialisations=known)


def build(found: Specialisation, dtype: str, target: int) -> Built:
    """Compiles one kernel. Raises Triton's error if it does not compile."""
    source = ASTSource(found.kernel, found.signature, found.constants, found.attributes)
    built = triton.compile(source, target=GPUTarget("cuda", target, 32))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(built.asm["cubin"])
        usage = subprocess.run(
            [_CUOBJDUMP, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    amounts = {name: int(value) for name, value in re.findall(r"(REG|LOCAL|STACK):(\d+)", usage)}
    return Built(
        kernel=found.name,
        constants=",".join(str(value) for value in found.constants.values()),
        dtype=dtype,
        target=target,
        registers=amounts["REG"],
        shared_bytes=built.metadata.shared,
        spilled_bytes=amounts["LOCAL"],
        tensor_core=len(_TENSOR_CORES.findall(built.asm["ptx"])),
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--targets", default="80,90,100")
    parser.add_argument("--dtypes", default="bfloat16,float32")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    built: list[Built] = []
    counts: list[Counted] = []
    for dtype in given.dtypes.split(","):
        counts, launches = count_steps(getattr(torch, dtype))
        for target in map(int, given.targets.split(",")):
            built += [build(one, dtype, target) for one in launches.specialisations.values()]
    print("| kernel | constants | dtype | target | registers | shared bytes | spilled | tensor core |")
    print("|---|---|---|---|---|---|---|---|")
    for one in built:
        print("| " + " | ".join(str(value) for value in asdict(one).values()) + " |")
    for count in counts:
        print(
            f"batch {count.batch}: {count.begin} launches before the backbone, {count.outside} around the "
            f"graphs, {count.inside} in them; {count.moved_bytes / 1e6:.0f} MB read and written"
        )
    if given.json:
        rows = {"built": [asdict(one) for one in built], "counted": [asdict(one) for one in counts]}
        given.json.write_text(json.dumps(rows, indent=1))
    slow = [one for one in built if one.kernel.endswith("._product") and not one.tensor_core]
    return int(any(one.spilled_bytes for one in built) or bool(slow))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
