"""JSON schemas of a chat request: which reach the compiler, and which are too expensive for it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

URL = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("schema", "status"),
    [
        ({"type": "string", "pattern": "a+"}, 400),
        ({"type": "object", "properties": {"a": {"anyOf": [{"pattern": "a"}]}}}, 400),
        ({"patternProperties": {"a": {}}}, 400),
        ({"$defs": {"a": {"pattern": "a"}}, "$ref": "#/$defs/a"}, 400),
        ({"type": "object", "properties": {"pattern": {"enum": [{"pattern": "a"}]}}}, 200),
    ],
)
async def test_regular_expressions_in_schemas_are_refused(
    client: httpx.AsyncClient, schema: dict[str, Any], status: int
) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    answer = await client.post(
        URL, json={"messages": [{"role": "user", "content": "x"}], "response_format": wanted}
    )
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["param"].startswith("response_format.json_schema.schema")
