"""Alignment: a sentence's phoneme durations, adjusted so that each token begins on a codec frame.

Tokens are words and punctuation marks. `teacher.hibari` synthesises with the new durations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UNITS_PER_FRAME = 3.2
"""A codec frame is 80 ms; the teacher's unit is 25 ms."""
LEAD_FRAMES = 1
TAIL_FRAMES = 1
_MARKS = frozenset(".,?:!")
_STRESS = frozenset("ˈˌ")
_MOST_UNITS_OF_A_MARK = 7


@dataclass(frozen=True, slots=True)
class AlignedDurations:
    """`durations`: units of each phoneme id, pads at both ends; `starts`: first frame of each token."""

    durations: tuple[int, ...]
    starts: tuple[int, ...]
    frames: int


def tokens_of(phonemes: str) -> list[range]:
    """The phonemes of each token, as indices: a word or a punctuation mark, with the space after it."""
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


def snap_to_frames(
    phonemes: str, natural: Sequence[int], units_per_frame: float = UNITS_PER_FRAME
) -> AlignedDurations:
    """`natural`: units of each phoneme, with a pad before and after.

    If `units_per_frame` is smaller than natural, the frames have fewer units, for audio that is stretched
    afterwards. Raises ValueError if the lengths do not match.
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
    return AlignedDurations(tuple(durations), tuple(starts), frame)


def _fit(durations: list[int], places: list[int], phonemes: list[str], wanted: int) -> None:
    """Lengthens or shortens the phonemes at `places`, one unit at a time, until they take `wanted` units."""
    name = dict(zip(places, phonemes, strict=True))
    stretchable = [place for place in places if name[place] not in _STRESS] or places
    for _ in range(wanted - sum(durations[place] for place in places)):
        # The phoneme nearest to a usual length: no consonant becomes too long.
        longest = max(stretchable, key=lambda p: (name[p] != " ", -abs(durations[p] - 3), durations[p]))
        durations[longest] += 1
    for _ in range(sum(durations[place] for place in places) - wanted):
        durations[max(places, key=lambda p: (durations[p], name[p] == " "))] -= 1
