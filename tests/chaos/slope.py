"""A straight line through measurements, by least squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def per_minute(at_s: Sequence[float], values: Sequence[float]) -> float:
    """The line's slope, in units of `values` per minute; 0 for fewer than two moments."""
    if len(set(at_s)) < 2:
        return 0.0
    minutes = (np.asarray(at_s) - at_s[0]) / 60.0
    return float(np.polyfit(minutes, np.asarray(values, np.float64), 1)[0])
