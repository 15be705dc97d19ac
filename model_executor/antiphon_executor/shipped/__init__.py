"""The checkpoint that is part of Antiphon (antiphon-nano), which is served by default.

Its folder is the output of `make nano`'s export. Imports nothing.
"""

from __future__ import annotations

from pathlib import Path

ANTIPHON_NANO = Path(__file__).parent / "antiphon-nano"
