"""Changes that no test can notice, each with the reason: what they change has no effect."""

from __future__ import annotations

# (file, change) as `make mutants` writes them, without the line.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("descriptors.py", "bound moved by one: _count(soft) < wanted"): "the limit is then set to what it is",
}
