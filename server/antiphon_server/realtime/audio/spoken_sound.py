"""The sound of one spoken answer that was sent, its words, and how much of both was heard."""

from __future__ import annotations

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_server.chat.response.alignment import Alignment, TimedWord


class SpokenSound:
    """`samples`: sent so far, at 24 kHz. `words`: the alignment of the answer's text and speech."""

    def __init__(self) -> None:
        self.words = Alignment()
        self.samples = 0
        self._pcm = bytearray()
        self._truncated_at: int | None = None
        self._played: int | None = None
        self._timed: list[TimedWord] = []

    @property
    def milliseconds(self) -> int:
        return self.samples * 1_000 // OUTPUT_SAMPLE_RATE_HZ

    @property
    def heard_samples(self) -> int:
        """The client's report counts; without one, what it can have played when the answer was cut."""
        bound = self._truncated_at if self._truncated_at is not None else self._played
        return self.samples if bound is None else min(bound, self.samples)

    @property
    def is_cut(self) -> bool:
        return self._truncated_at is not None or self._played is not None

    def add(self, pcm: bytes) -> None:
        self._pcm += pcm
        self.samples += len(pcm) // 2

    def truncate(self, milliseconds: int) -> int:
        """The client has played this much. The shortest of several reports counts.

        Returns how many samples counted as heard before and do no longer.
        """
        before = self.heard_samples
        at = milliseconds * OUTPUT_SAMPLE_RATE_HZ // 1_000
        self._truncated_at = at if self._truncated_at is None else min(at, self._truncated_at)
        del self._pcm[2 * self._truncated_at :]
        return max(before - self.heard_samples, 0)

    def cut(self, played: int) -> int:
        """The answer was cut when the client can have played at most `played` samples. As `truncate`."""
        if played >= self.samples:
            return 0
        before, self._played = self.heard_samples, played
        return before - self.heard_samples

    def heard_pcm(self) -> bytes:
        return bytes(self._pcm[: 2 * self.heard_samples])

    def heard_text(self, transcript: str) -> str:
        """The words of `transcript`, the answer's text so far, that end within what was heard."""
        if not self.is_cut:
            return transcript
        heard = self.heard_samples
        self._timed += self.words.timed_words(heard)
        text = "".join(word.text for word in self._timed if word.end <= heard)
        return transcript[: len(text)].rstrip()
