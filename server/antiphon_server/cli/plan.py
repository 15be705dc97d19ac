"""`antiphon plan`: will a model fit, with these settings, on these GPUs; told before it is loaded.

In: flags, those of `serve` among them. Out: the plan, and 1 where something is short. Needs a model's
`config.json` and no weights.
"""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

from antiphon_executor.interface.settings import EngineSettings
from antiphon_server.config.flags import FlagParser
from antiphon_server.exits import ExitCode, StartupError

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT])(i?)B?", re.IGNORECASE)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}


def add_plan_options(parser: FlagParser) -> None:
    parser.add_option(
        "--sizes", choices=("published", "larger"), help="public sizes, in place of a model's config.json"
    )
    parser.add_option(
        "--gpu-memory", type=read_size, help="memory of each GPU, such as 80GiB", metavar="SIZE"
    )
    parser.add_option("--memory", type=read_size, help="memory of a machine without GPUs", metavar="SIZE")
    parser.add_option("--json", action="store_true", help="as JSON, in bytes")


def read_size(text: str) -> int:
    """`80GiB`, `141GB`, `512 MiB` → bytes. ValueError for anything else."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()])


def plan(parser: FlagParser, given: Namespace, settings: EngineSettings) -> tuple[str, int]:
    """The report and the exit code."""
    memory = given.gpu_memory or given.memory
    if memory is None or (given.gpu_memory and given.memory):
        parser.error("say either --gpu-memory 80GiB or --memory 8GiB")
    from antiphon_executor.planning.planner import make_plan
    from antiphon_executor.planning.report import as_json, as_lines

    config = _sizes(given.sizes) if given.sizes else _config(settings.model)
    try:
        made = make_plan(config, settings, memory, gpus=given.gpu_memory is not None)
    except ValueError as error:
        raise StartupError(ExitCode.BAD_CONFIG, str(error)) from None
    return (as_json if given.json else as_lines)(made), int(not made.fits)


def _sizes(name: str) -> object:
    from antiphon_executor.models.qwen3_5_omni import presets

    return presets.published() if name == "published" else presets.larger()


def _config(model: Path) -> object:
    from antiphon_executor.checkpoint.family import UnknownFamily, read_config

    try:
        return read_config(model)
    except UnknownFamily as error:
        raise StartupError(ExitCode.UNSUPPORTED_MODEL, str(error)) from None
    except (OSError, ValueError):
        hint = "give the folder that holds it, or --sizes published"
        raise StartupError(ExitCode.NO_MODEL, f"there is no config.json at {model}", hint) from None
