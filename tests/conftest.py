"""Rules for all tests: time limits, long tests, repetition, and skips that count as failures."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.examples import examples
from tests.run import ENGINES, IN_GROUP, IN_GROUPS

ENGINE_LIMIT_S = 900
# By default an example that takes 200 ms fails, which any example does on a busy machine now and then.
hypothesis.settings.register_profile(
    "antiphon",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    max_examples=examples(100),
)
hypothesis.settings.load_profile("antiphon")
NO_SKIPS = os.environ.get("ANTIPHON_NO_SKIPS") == "1"
# What is imported and collected stays; to look through it again and again took a quarter of the collection.
gc.disable()


# A module that imports one of these starts processes or servers, or reads clocks.
TIMED_NAMES = ("multiprocessing", "serving", "signal", "sink", "socket", "subprocess", "threading", "time")

# Fixtures that build a checkpoint with torch, or start a browser.
HEAVY_FIXTURES = {"browser", "tiny_qwen3_omni", "tiny_qwen3_5_omni", "released_qwen3_omni"}
# In tests/e2e: the server of a file, or of a test in test_way_out.py, which ends the servers of other files.
SERVERS = {
    "test_clients.py": "nano",
    "test_dashboard.py": "nano",
    "test_deterministic.py": "deterministic",
    "test_engine_faults.py": "faulty",
    "test_hybrid_family.py": "hybrid",
    "test_long_media.py": "nano",
    "test_nano.py": "nano",
    "test_readme.py": "nano",
    "test_realtime.py": "nano",
    "test_a_server_that_gets_a_signal_finishes_its_answers_and_leaves_nothing": "nano",
    "test_a_server_leaves_no_file_behind_and_logs_only_records": "faulty",
    "test_out_of_memory.py": "faulty",
    "test_restarts.py": "faulty",
    "test_a_killed_server_leaves_no_process_behind": "deterministic",
    "test_variants.py": "variants",
}

# The fixtures of servers that one group has.
GROUPS = {"faulty": "faulty", "nano_server": "nano", "steady": "deterministic"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--repeat",
        type=int,
        default=1,
        help="repetitions of each test in one session, in which engines and servers start once",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if (times := metafunc.config.getoption("repeat")) > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


# The groups that take longest come first, so that both processes end at about the same time. Those that wait
# most overlap with those that compute most.
LONGEST_FIRST = ("others", "shared servers", "requests", "talker", "nano", "faulty", "thinker", "hybrid")


def group_of(nodeid: str) -> str:
    """The server that a test uses, or its folder of parity tests, which has its own engines."""
    path, _, name = nodeid.partition("::")
    *folders, file = path.split("/")
    if "parity" in folders:
        return folders[-1]
    if "e2e" in folders:
        return SERVERS.get(file) or SERVERS.get(name.partition("[")[0], "shared servers")
    return "others"


def other_group(item: pytest.Item) -> str | None:
    """The group of a server that an item would start once more, in its own group."""
    if not item.nodeid.startswith("tests/e2e/"):
        return None
    used = [group for fixture, group in GROUPS.items() if fixture in getattr(item, "fixturenames", ())]
    return next((group for group in used if group != group_of(item.nodeid)), None)


# A single test that takes a minute comes first, so that the other processes do not wait for it at the end.
A_MINUTE_LONG = "test_schemathesis.py"
# Of a group: what needs the model that is compiled meanwhile, then what ends servers.
LAST_FILES = ("test_compiled.py", "test_pace.py", "test_way_out.py")


def place_of(item: pytest.Item) -> tuple[int, bool]:
    group = group_of(item.nodeid)
    place = LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST)
    return place, item.path.name in LAST_FILES


class GroupScheduling(LoadScopeScheduling):
    """Sends each group of tests to one process. They begin in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadscope" else None


@cache
def names_its_group(file: Path) -> bool:
    return IN_GROUP.search(file.read_text()) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Engine tests get a longer limit, since it includes the engine's start; long tests are left out."""
    left_out = []
    for item in items:
        if (item.get_closest_marker("engine") or item.get_closest_marker("serial")) and not names_its_group(
            item.path
        ):
            raise pytest.UsageError(
                f"{item.nodeid}: tests/run.py looks for mark.engine or mark.serial in the file"
            )
        if group := other_group(item):
            raise pytest.UsageError(f"{item.nodeid} needs the group {group!r}: name it in SERVERS")
        if isinstance(item, pytest.Function) and not set(TIMED_NAMES).isdisjoint(vars(item.module)):
            item.add_marker("timed")
        if isinstance(item, pytest.Function) and not HEAVY_FIXTURES.isdisjoint(item.fixturenames):
            item.add_marker("heavy")
        if item.get_closest_marker("engine") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(ENGINE_LIMIT_S))
        long = item.get_closest_marker("long")
        if long and not os.environ.get(long.args[0]):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if config.getoption("markexpr") in {IN_GROUPS[-1], ENGINES[-1]}:
        items.sort(key=place_of)
    else:
        items.sort(key=lambda item: item.path.name != A_MINUTE_LONG)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if NO_SKIPS and report.skipped:
        report.outcome, report.longrepr = "failed", f"skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if NO_SKIPS and report.skipped:
        report.outcome, report.longrepr = "failed", f"skipped: {report.longrepr}"
    return report
