"""The onset of a piece: where its first sound begins, to 10 ms.

A detector of speech says it to some 50 ms only. A model may have learned from recordings that begin at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.transcription.level import levels

_BLOCK = INPUT_SAMPLE_RATE_HZ // 100
# In dB. Sound stands this far above what precedes the speech; quieter than the first it is none, louder than
# the second it always is, both below the loud part of the piece.
_ABOVE_BACKGROUND_DB, _SILENT_BELOW_LOUD_DB, _SOUND_BELOW_LOUD_DB = 10.0, 30.0, 6.0


def onset(samples: NDArray[np.float32], before: int) -> int:
    """The sample of a piece at which its first sound begins. `before`: the samples ahead of its speech."""
    level = levels(samples, _BLOCK)
    if not len(level):
        return 0
    loud = np.percentile(level, 95)
    ahead = level[: before // _BLOCK]
    background = np.median(ahead) if len(ahead) else -np.inf
    above = min(background + _ABOVE_BACKGROUND_DB, loud - _SOUND_BELOW_LOUD_DB)
    return int(np.argmax(level > max(above, loud - _SILENT_BELOW_LOUD_DB))) * _BLOCK
