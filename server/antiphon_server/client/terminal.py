"""Standard output of the commands. A server's text cannot drive the terminal that shows it."""

from __future__ import annotations

import re
import sys

# All but the end of a line and the tab: an escape sequence may set the clipboard, or hide what was shown.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write(text: str) -> None:
    """A terminal gets the text without control characters; a file or a pipe gets it as it is."""
    sys.stdout.write(_CONTROL.sub("", text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
