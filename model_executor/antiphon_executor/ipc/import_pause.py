"""No garbage collection while an engine's process imports vLLM: a million new objects, and all of them stay.

torch calls `pause_collection` at its import (entry point `torch.backends`), vLLM's plugin ends the pause.
"""

from __future__ import annotations

import gc

from antiphon_executor.ipc.parent_watchdog import is_engine_process


def pause_collection() -> None:
    """Does nothing outside of engine processes."""
    if is_engine_process():
        gc.disable()


def resume_collection() -> None:
    """What has been imported is never looked through again. Does nothing without a pause."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
