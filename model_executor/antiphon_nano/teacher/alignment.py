"""Which token is spoken when: a teacher's phoneme durations, snapped to the codec's frames.

In: one sentence's phonemes and their natural durations. Out: durations under which every word and every
punctuation mark begins on a frame, and where. Pure; what makes sound of the durations is `teacher.hibari`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UNITS_PER_FRAME = 3.2
"""A frame of the codec is 80 ms; the teacher counts in units of 25 ms."""
LEAD_FRAMES = 1
TAIL_FRAMES = 1
_MARKS = frozenset(".,?:!")
_STRESS = frozenset("ˈˌ")
_MOST_UNITS_OF_A_MARK = 7


@dataclass(frozen=True, slots=True)
class Snapped:
    """`durations`: units of each id, pads at both ends; `starts`: the first frame of each token."""

    durations: tuple[int, ...]
    starts: tuple[int, ...]
    frames: int


def tokens_of(phonemes: str) -> list[range]:
    """Which phonemes belong to each token: a word with the space behind it, or a mark with its space.

    Indices into `phonemes`, which a space parts into words.
    """
    found: list[range] = []
    start = 0
    for place, phoneme in enumerate(phonemes):
        if phoneme in _MARKS and place > start:
            found.append(range(start, place))
            start = place
        if phoneme == " ":
            found.append(range(start, place + 1))
            start = place + 1
    if start < len(phonemes):
        found.append(range(start, len(phonemes)))
    return found


def snap(phonemes: str, natural: Sequence[int], units_per_frame: float = UNITS_PER_FRAME) -> Snapped:
    """`natural`: units of each phoneme, with a pad before and behind.

    With fewer `units_per_frame` than natural, as many frames are made of fewer units: the sound is meant to
    be stretched afterwards. ValueError where the two lengths do not fit.
    """
    if len(natural) != len(phonemes) + 2:
        raise ValueError(f"{len(natural)} durations for {len(phonemes)} phonemes and two pads")
    durations = [max(1, int(units)) for units in natural]
    durations[0] = round(LEAD_FRAMES * units_per_frame)
    frame, starts = LEAD_FRAMES, []
    for token in tokens_of(phonemes):
        places = [place + 1 for place in token]
        if phonemes[token[0]] in _MARKS:
            durations[places[0]] = min(durations[places[0]], _MOST_UNITS_OF_A_MARK)
        starts.append(frame)
        length = max(1, round(sum(durations[place] for place in places) / UNITS_PER_FRAME + 0.15))
        while round((frame + length) * units_per_frame) - round(frame * units_per_frame) < len(places):
            length += 1
        wanted = round((frame + length) * units_per_frame) - round(frame * units_per_frame)
        _fit(durations, places, [phonemes[place - 1] for place in places], wanted)
        frame += length
    frame += TAIL_FRAMES
    durations[-1] = round(frame * units_per_frame) - sum(durations[:-1])
    return Snapped(tuple(durations), tuple(starts), frame)


def _fit(durations: list[int], places: list[int], phonemes: list[str], wanted: int) -> None:
    """Lengthens or shortens the phonemes at `places` until they take `wanted` units, one unit at a time."""
    name = dict(zip(places, phonemes, strict=True))
    stretchable = [place for place in places if name[place] not in _STRESS] or places
    for _ in range(wanted - sum(durations[place] for place in places)):
        # Of real phonemes, the one nearest to a usual length: no consonant is blown up.
        longest = max(stretchable, key=lambda p: (name[p] != " ", -abs(durations[p] - 3), durations[p]))
        durations[longest] += 1
    for _ in range(sum(durations[place] for place in places) - wanted):
        durations[max(places, key=lambda p: (durations[p], name[p] == " "))] -= 1
