"""The checkpoint that comes with Antiphon: what is served where no other is named.

`make nano` trains it; the folder beside this file is what its export wrote, model card included.
"""

from __future__ import annotations

from pathlib import Path

ANTIPHON_NANO = Path(__file__).parent / "antiphon-nano"
