"""How many examples a property test tries: in `make check` a fifth."""

from __future__ import annotations

import os

FEW = os.environ.get("ANTIPHON_FEW_EXAMPLES") == "1"


def examples(number: int) -> int:
    return number // 5 if FEW else number
