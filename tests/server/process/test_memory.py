"""Memory tuning: freed buffers return to the system, start-up objects are not scanned."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import pytest

from antiphon_server.process.memory import without_collection

PROGRAM = """
import json, sys, threading
from pathlib import Path
from antiphon_server.process.memory import tune_malloc

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

kept = []
def work(turns=6, mib=2):
    for _ in range(turns):
        media = [bytearray(mib << 20) for _ in range(8)]
        kept.extend(bytes(2000) for _ in media)
        media = [(bytearray(mib << 20), kept.append(bytes(2000))) for _ in range(8)]

done = tune_malloc() if "tuned" in sys.argv else False
before = resident_mib()
for _ in range(2):
    threads = [threading.Thread(target=work) for _ in range(6)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
print(json.dumps([done, resident_mib() - before]))
"""


def grown_mib(*arguments: str, **environment: str) -> tuple[bool, float]:
    """Whether malloc was tuned, and by how many MiB the process has grown."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    done, mib = json.loads(run.stdout)
    return bool(done), float(mib)


def test_large_buffers_of_many_threads_go_back_to_the_system() -> None:
    tuned, mib = grown_mib("tuned")
    assert tuned
    assert mib < 16
    assert grown_mib()[1] > 2 * mib


def test_an_operators_malloc_settings_are_kept() -> None:
    tuned, _ = grown_mib("tuned", MALLOC_ARENA_MAX="2")
    assert not tuned


def test_nothing_is_collected_during_an_import_even_if_it_fails() -> None:
    def failing() -> None:
        with without_collection():
            assert not gc.isenabled()
            raise ImportError

    with pytest.raises(ImportError):
        failing()
    assert gc.isenabled()


def test_startup_objects_are_exempt_from_collection() -> None:
    program = "import gc; from antiphon_server.process.memory import freeze_startup_objects as keep; keep(); "
    program += "print(gc.get_freeze_count(), len(gc.get_objects()))"
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=60, check=True)
    kept, looked_at = map(int, run.stdout.split())
    assert kept > 1_000 > looked_at


OLD_RUBBISH = """
import gc, weakref
from antiphon_server.process.memory import freeze_startup_objects

class Held: pass

start_up = [[] for _ in range(500_000)]
freeze_startup_objects()
held = Held()
held.myself, looked_at = held, weakref.ref(held)
gc.collect(1)
del held
request = 0
while looked_at() and request < 1_000:
    request += 1
    rubbish = [[] for _ in range(1_000)]
print(request)
"""


def test_cycles_of_requests_are_collected_soon_despite_many_startup_objects() -> None:
    """Only full collections find old garbage."""
    run = subprocess.run([sys.executable, "-c", OLD_RUBBISH], stdout=subprocess.PIPE, timeout=60, check=True)
    assert int(run.stdout) < 300
