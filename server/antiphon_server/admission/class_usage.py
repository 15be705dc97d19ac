"""What the keys of each class have used since the start of the server, for metrics that name no key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from antiphon_server.admission.capacity import KeyClasses


@dataclass(slots=True)
class Usage:
    """`tokens`: prompts, text and frames of speech, as `usage` counts them. `audio_s`: heard and spoken."""

    requests: int = 0
    tokens: int = 0
    audio_s: float = 0.0


class ClassUsage:
    """Counts requests that started. The number of classes is bounded by the key file."""

    def __init__(self, classes: KeyClasses) -> None:
        self._classes = classes
        self._used: defaultdict[str, Usage] = defaultdict(Usage)

    @property
    def used(self) -> Mapping[str, Usage]:
        return self._used

    def of(self, owner: str) -> Usage:
        """What the requests of the owner's class add to. A request asks once, when it starts."""
        return self._used[self._classes.class_of(owner)]
