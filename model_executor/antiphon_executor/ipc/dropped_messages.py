"""Counts the messages of a channel that could not be used, and logs the 1st, 2nd, 4th, 8th ... of them.

The content of a message is never logged.
"""

from __future__ import annotations

import logging

_log = logging.getLogger("antiphon.engine")


class DroppedMessages:
    """`channel`: name of the channel in the log."""

    def __init__(self, channel: str) -> None:
        self.count = 0
        self._channel = channel

    def add(self, error: Exception) -> None:
        self.count += 1
        if self.count.bit_count() == 1:
            fields = {"channel": self._channel, "error": type(error).__name__, "dropped": self.count}
            _log.error("a message between the engines was dropped", extra={"fields": fields})
