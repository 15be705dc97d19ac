"""The targets of `make fuzz` on random bytes and on changed seeds; Atheris looks further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.promise("R38")


def changed(seed: bytes) -> st.SearchStrategy[bytes]:
    """A part of it is replaced."""
    at = st.integers(0, len(seed))
    return st.tuples(at, at, st.binary(max_size=8)).map(lambda cut: seed[: cut[0]] + cut[2] + seed[cut[1] :])


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)

    @given(st.binary(max_size=64) | st.sampled_from(SEEDS[name]).flatmap(changed))
    def reads(data: bytes) -> None:
        TARGETS[name](data)

    reads()
