"""What every request needs of the running engine: its stages, tokenizer functions, slots and settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.settings import GuardSettings, PaceSettings, WaitSettings
from antiphon_executor.interface.spoken_length import VoicePaces
from antiphon_executor.ipc.bridge import Bridge
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.stages.prefill_progress import PrefillOf, no_prefill
from antiphon_executor.stages.stage import Generate
from antiphon_executor.turn.cut_text import CutText
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.talker_session import Talker


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Shared by all requests of an engine. `talker` None: the server answers in text only.

    `encode`: text to the token ids that the Talker reads. `reads_user_text`: the Talker needs the Thinker's
    hidden states of user text, not of media alone. `guard` None: speech is not checked, and cut texts
    are not closed.
    """

    generate_text: Generate
    decode: Callable[[list[int]], str]
    ids: PromptIds
    thinker_eos: frozenset[int]
    talker: Talker | None
    bridge: Bridge
    slots: SlotTracker
    guard: GuardSettings | None = None
    waits: WaitSettings = field(default_factory=WaitSettings)
    pacing: PaceSettings = field(default_factory=PaceSettings)
    encode: Callable[[str], list[int]] | None = None
    reads_user_text: bool = False
    voice_paces: VoicePaces = field(default_factory=VoicePaces)
    media: MediaGeometry = field(default_factory=MediaGeometry)
    prefill_of: PrefillOf = no_prefill

    def cut_text(self) -> CutText | None:
        """Closes a cut text for the Talker; None if cut texts stay unchanged."""
        if self.encode is None or self.guard is None or self.guard.cut_text == "leave":
            return None
        return CutText(self.decode, self.encode)
