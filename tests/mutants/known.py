"""Changes without an effect, which no test can detect, each with the reason."""

from __future__ import annotations

# (file, change) as `make mutants` writes them, without the line.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("descriptors.py", "bound moved by one: _count(soft) < wanted"): "the limit is then set to what it is",
}
