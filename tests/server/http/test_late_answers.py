"""An answer runs when the router has returned, so that nothing of the router is kept while it runs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from antiphon_executor.interface.errors import EngineBusy
from antiphon_server.errors import BadRequest
from antiphon_server.http.streaming.late_answers import LateAnswers, put_off


class Route:
    """An application that puts `answer` off. `log`: what ran, in order."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.log: list[str] = []
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["fastapi_inner_astack"] = object()
        assert put_off(scope, self.answer)
        self.log.append("the router returns")

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.log.append("the answer begins")
        assert "fastapi_inner_astack" not in scope
        if self._fault is not None:
            raise self._fault
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"said"})


async def get(app: Any) -> httpx.Response:
    transport = httpx.ASGITransport(LateAnswers(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/")


async def test_the_router_has_returned_before_the_answer_begins() -> None:
    route = Route()
    response = await get(route)
    assert (response.status_code, response.text) == (200, "said")
    assert route.log == ["the router returns", "the answer begins"]


@pytest.mark.parametrize(
    ("fault", "status"), [(BadRequest("no such voice"), 400), (EngineBusy("full", retry_after_s=3), 429)]
)
async def test_an_error_before_the_first_byte_is_a_status(fault: Exception, status: int) -> None:
    response = await get(Route(fault))
    assert response.status_code == status
    assert response.json()["error"]["message"]
    assert (status == 429) == ("retry-after" in response.headers)


async def test_without_the_layer_the_answer_runs_in_its_route() -> None:
    assert not put_off({"type": "http"}, Route().answer)
