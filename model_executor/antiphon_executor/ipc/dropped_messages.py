"""How many messages of a channel could not be used; the log has the first, the second, the fourth, and so on.

In: what was wrong with each. Out: a count. Nothing of a message is ever logged.
"""

from __future__ import annotations

import logging

_log = logging.getLogger("antiphon.engine")


class DroppedMessages:
    """`channel`: its name in the log."""

    def __init__(self, channel: str) -> None:
        self.count = 0
        self._channel = channel

    def add(self, error: Exception) -> None:
        self.count += 1
        if self.count.bit_count() == 1:
            fields = {"channel": self._channel, "error": type(error).__name__, "dropped": self.count}
            _log.error("a message between the engines was dropped", extra={"fields": fields})
