"""Counting a JSON body's nesting and nodes while it arrives, in any pieces."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.json_shape import JsonShape

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet=st.sampled_from('a"\\[]{},:é\n')),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def depth_of(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 0


def passes(body: bytes, cuts: list[int], depth: int, nodes: int = 10_000) -> bool:
    shape = JsonShape(depth, nodes)
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    try:
        for start, end in itertools.pairwise(edges):
            shape.count_piece(body[start:end])
    except BadRequest:
        return False
    return True


@given(VALUES, st.lists(st.integers(0, 500), max_size=6))
def test_the_limit_is_the_real_depth_however_the_body_is_cut(value: Any, cuts: list[int]) -> None:
    body = json.dumps(value).encode()
    depth = depth_of(value)
    assert passes(body, cuts, depth)
    assert depth == 0 or not passes(body, cuts, depth - 1)


@given(VALUES, st.lists(st.integers(0, 500), max_size=6))
def test_one_byte_at_a_time_counts_the_same_nodes(value: Any, cuts: list[int]) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    everywhere = list(range(len(body)))
    for nodes in (1, 3, 9):
        assert passes(body, cuts, 99, nodes) == passes(body, everywhere, 99, nodes)


def test_brackets_inside_strings_do_not_count() -> None:
    assert passes(json.dumps({"text": "[[[[[{{{{" * 99}).encode(), [], depth=1)


def test_a_bomb_is_refused_long_before_its_end() -> None:
    shape = JsonShape(64, 1000)
    with pytest.raises(BadRequest, match="deeper than 64"):
        shape.count_piece(b"[" * 65)


def test_a_wide_bomb_is_refused_too() -> None:
    shape = JsonShape(64, 1000)
    with pytest.raises(BadRequest, match="more than 1000"):
        shape.count_piece(b"[1" + b",1" * 1000)


def test_as_many_nodes_as_the_limit_pass_and_no_more() -> None:
    assert passes(b"[1,1]", [], depth=1, nodes=3)
    assert not passes(b"[1,1]", [], depth=1, nodes=2)


def test_an_empty_piece_after_a_backslash_changes_nothing() -> None:
    body = b'"' + b"\\" + b'"[[" '
    assert passes(body, [2, 2, 2], depth=1)
    assert not passes(body + b"[[", [2, 2, 2], depth=1)
