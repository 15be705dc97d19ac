"""The history of a realtime conversation in the prefix cache of the Thinker."""

from __future__ import annotations

import pytest

from tests.e2e.server_process import RunningServer
from tests.e2e.test_realtime import talking

pytestmark = pytest.mark.engine


def test_a_turn_prefills_its_own_tokens_only(served: RunningServer) -> None:
    """What the turns before it have in common with it is in the prefix cache, but for a part of a block."""
    with talking(served, output_modalities=["text"], max_output_tokens=8) as talk:
        before = 0
        for number in range(5):
            talk.write(f"Turn {number}: " + "one two three four " * 8)
            usage = talk.until("response.done")[-1]["response"]["usage"]
            cached = usage["input_token_details"]["cached_tokens"]
            assert cached >= before - 32
            before = usage["input_tokens"]
    assert before > 200
