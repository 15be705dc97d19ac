"""A bare timer loop as its own process: measures how late the machine runs a process that does nothing else.

Sleeps 5 ms at a time until its standard input closes, then writes its samples to standard output as JSON.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import suppress

INTERVAL_S = 0.005
_HIGHEST_PRIORITY = -20


def main() -> None:
    """Without the right to raise its priority, the loop also waits for processes of the same machine."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _HIGHEST_PRIORITY)
    due_s: list[float] = []
    lag_s: list[float] = []
    print("ready", flush=True)  # noqa: T201
    is_open = True
    while is_open:
        due = time.monotonic() + INTERVAL_S
        is_open = not select.select([sys.stdin], [], [], INTERVAL_S)[0]
        due_s.append(due)
        lag_s.append(max(0.0, time.monotonic() - due))
    json.dump({"due_s": due_s, "lag_s": lag_s}, sys.stdout)


if __name__ == "__main__":
    main()
