"""What threads have freed is the system's again, however it lay between what is kept."""

from __future__ import annotations

import json
import subprocess
import sys

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

done = tune_malloc() if "told" in sys.argv else False
before = resident_mib()
for _ in range(2):
    threads = [threading.Thread(target=work) for _ in range(6)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
print(json.dumps([done, resident_mib() - before]))
"""


def grown_mib(*arguments: str, **environment: str) -> tuple[bool, float]:
    """Whether glibc was told, and by how much the program has grown."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    done, mib = json.loads(run.stdout)
    return bool(done), float(mib)


def test_given_large_buffers_in_many_threads_then_little_is_left_of_them() -> None:
    told, mib = grown_mib("told")
    assert told
    assert mib < 16
    assert grown_mib()[1] > 2 * mib


def test_what_the_operator_has_chosen_stays() -> None:
    told, _ = grown_mib("told", MALLOC_ARENA_MAX="2")
    assert not told


def test_what_start_up_has_made_is_not_looked_through_again() -> None:
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


def test_what_a_request_left_behind_goes_soon_however_much_start_up_has_made() -> None:
    """Rubbish that has grown old is found by whole collections alone."""
    run = subprocess.run([sys.executable, "-c", OLD_RUBBISH], stdout=subprocess.PIPE, timeout=60, check=True)
    assert int(run.stdout) < 300
