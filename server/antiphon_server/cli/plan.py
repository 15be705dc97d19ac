"""`antiphon plan`: whether a model fits, with these settings, on this machine or another one.

It reads a model's `config.json` and no weights.
"""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.cli.machine_checks.host_memory import host_memory
from antiphon_server.cli.machine_checks.machine import (
    DriverHangs,
    find_gpus,
    usable_cores,
    usable_memory_bytes,
)
from antiphon_server.cli.settings_flags import load_settings, settings_parser
from antiphon_server.config.parser import FlagParser
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.hub.download import CONFIG_FILES, open_snapshot
from antiphon_server.hub.model_name import hub_name

if TYPE_CHECKING:
    from antiphon_executor.planning.planner import MemoryPlan

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])(i?)B?", re.IGNORECASE)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Target:
    """The machine to plan for. `memory_bytes`: of each GPU, or of the machine if `gpus` is 0.

    `gpus`: None if their number is not known. `assumed`: what was assumed; empty if the memory was given.
    """

    memory_bytes: int
    gpus: int | None
    assumed: str = ""

    @property
    def is_this_cpu(self) -> bool:
        return self.gpus == 0 and bool(self.assumed)


@dataclass(frozen=True, slots=True)
class PlannedCost:
    """In the currency of the price. `hour_of_speech`: at least, while all `streams` speak in real time."""

    hour: float
    hour_of_speech: float
    streams: int

    def __str__(self) -> str:
        return (
            f"cost: {self.hour:.2f} an hour; at least {self.hour_of_speech:.4f} per hour of speech, while "
            f"all {self.streams} streams speak in real time (antiphon bench --gpu-hour measures a load)"
        )


def make_parser() -> FlagParser:
    parser = settings_parser(
        "plan",
        "Show how much memory a model takes and whether it fits, without loading it.",
        ("model", "engine"),
    )
    machine = parser.add_argument_group("machine (this one by default)")
    machine.add_argument(
        "--gpu-memory", type=read_size, metavar="SIZE", help="memory of each GPU, such as 80GiB"
    )
    machine.add_argument("--memory", type=read_size, metavar="SIZE", help="memory of a machine without GPUs")
    parser.add_argument(
        "--sizes", choices=("published", "larger"), help="public sizes instead of a config.json"
    )
    parser.add_argument(
        "--prefill-rate", type=float, metavar="N", help="prompt tokens per second, for the prefill's seconds"
    )
    parser.add_argument(
        "--gpu-hour", type=float, metavar="P", help="price of one GPU (or the CPU) for an hour"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, in bytes")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the memory map as an SVG picture")
    return parser


def run(argv: Sequence[str]) -> int:
    """1 if something is short, else 0."""
    parser = make_parser()
    given = parser.parse(argv)
    if given.sizes:
        given.settings.setdefault("engine.model", given.sizes)
    everything = load_settings(parser, given).settings
    settings, host = everything.engine, host_memory(everything)
    target = _target(parser, given)
    from antiphon_executor.planning.outlook import outlook
    from antiphon_executor.planning.report import plan_as_json, plan_as_text

    config = _read_sizes(given.sizes) if given.sizes else _read_config(settings)
    if target.is_this_cpu:
        settings = _with_cpu_dtypes(settings, config)
    plan = _make_plan(config, settings, target)
    view = outlook(plan, config, settings, given.prefill_rate)
    cost = None if given.gpu_hour is None else _cost(plan, settings, given.gpu_hour)
    if given.json:
        added: dict[str, Any] = {"assumed": target.assumed} if target.assumed else {}
        added |= {"cost": asdict(cost)} if cost else {}
        print(json.dumps(json.loads(plan_as_json(plan, view, host)) | added, indent=2))  # noqa: T201
    else:
        note = f"assumed: {target.assumed}; --gpu-memory or --memory plans for another machine\n"
        print((note if target.assumed else "") + plan_as_text(plan, view, host))  # noqa: T201
        if cost:
            print(cost)  # noqa: T201
    if given.plot:
        _write_map(given.plot, plan, host)
    return int(not plan.fits)


def _cost(plan: MemoryPlan, settings: EngineSettings, gpu_hour: float) -> PlannedCost:
    gpus = len({gpu for engine in plan.engines for gpu in engine.gpus}) or 1
    return PlannedCost(gpu_hour * gpus, gpu_hour * gpus / settings.talker.streams, settings.talker.streams)


def read_size(text: str) -> int:
    """`80GiB`, `141GB`, `512 MiB` as bytes. ValueError for anything else."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()])


def this_machine() -> Target:
    """The GPUs that the driver lists, planned by the smallest of them; without GPUs, the machine's memory."""
    try:
        gpus = find_gpus()
    except DriverHangs as error:
        raise StartupError(ExitCode.FAULT, str(error), "give --gpu-memory 80GiB or --memory 8GiB") from None
    sizes = [gpu.memory_bytes for gpu in gpus if gpu.memory_bytes]
    if sizes:
        smallest = min(sizes)
        each = f"{smallest / _GIB:.1f} GiB{' each' if len(gpus) > 1 else ''}"
        return Target(smallest, len(gpus), f"this machine's {len(gpus)} x {gpus[0].name}, {each}")
    memory, cores = usable_memory_bytes(), usable_cores()
    return Target(memory, 0, f"this machine's CPU, {memory / _GIB:.1f} GiB of memory, {cores} cores")


def _target(parser: FlagParser, given: Namespace) -> Target:
    if given.gpu_memory and given.memory:
        parser.error("give either --gpu-memory 80GiB or --memory 8GiB")
    if given.gpu_memory:
        return Target(given.gpu_memory, None)
    return Target(given.memory, 0) if given.memory else this_machine()


def _make_plan(config: object, settings: EngineSettings, target: Target) -> MemoryPlan:
    """The plan; GPUs that the target does not have are a shortage."""
    from antiphon_executor.planning.planner import plan_memory

    try:
        plan = plan_memory(config, settings, target.memory_bytes, gpus=target.gpus != 0)
    except ValueError as error:
        raise StartupError(ExitCode.BAD_CONFIG, str(error)) from None
    named = {gpu for engine in plan.engines for gpu in engine.gpus}
    missing = sorted(named - set(range(target.gpus))) if target.gpus else []
    if missing:
        plural = "s" if len(missing) > 1 else ""
        shortage = f"GPU{plural} {', '.join(map(str, missing))} needed, this machine has {target.gpus}"
        plan = replace(plan, shortages=(shortage, *plan.shortages))
    return plan


def _with_cpu_dtypes(settings: EngineSettings, config: Any) -> EngineSettings:
    from antiphon_executor.engine.dtype_selection import with_cpu_dtypes

    return with_cpu_dtypes(settings, config)


def _write_map(file: Path, plan: MemoryPlan, host: tuple[tuple[str, int], ...]) -> None:
    from antiphon_executor.planning.memory_map import memory_map

    try:
        file.write_text(memory_map(plan, host), encoding="utf-8")
    except OSError as error:
        message = f"the picture cannot be written to {file}: {error.strerror}"
        raise StartupError(ExitCode.BAD_CONFIG, message) from None


def _read_sizes(name: str) -> object:
    from antiphon_executor.models.qwen3_5_omni import presets

    return presets.published() if name == "published" else presets.larger()


def _read_config(settings: EngineSettings) -> object:
    """Of a model on the hub, only its configuration is downloaded."""
    name = hub_name(settings.model)
    model = open_snapshot(name, settings.revision, CONFIG_FILES).folder if name else settings.model
    from antiphon_executor.checkpoint.family import UnknownFamily, read_config

    try:
        return read_config(model)
    except UnknownFamily as error:
        raise StartupError(ExitCode.UNSUPPORTED_MODEL, str(error)) from None
    except (OSError, ValueError):
        hint = "give the folder that holds it, or --sizes published"
        raise StartupError(ExitCode.NO_MODEL, f"there is no config.json at {model}", hint) from None
