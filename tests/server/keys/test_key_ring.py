"""Keys of a running server: rotation by the key file, limits by class, and what is logged and counted."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.config.sources import load
from antiphon_server.http.app import create_app
from antiphon_server.keys.key_ring import KeyRing
from antiphon_server.observability.admission_log import AdmissionLog
from antiphon_server.observability.logging import JsonFormatter, request_id
from antiphon_server.process.lifecycle_tasks import watch_keys
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service

FAST, SLOW = "canary-fast-key", "canary-slow-key"
FILE = f"""
classes:
  slow: {{tokens_per_minute: 30, requests: 1}}
keys:
- {{key: {FAST}}}
- {{key: {SLOW}, class: slow}}
"""
LONG = "hello " * 20


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def write(file: Path, text: str) -> None:
    """Replaces the file, as tools that rotate secrets do."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.replace(file)


@pytest.fixture
def keyed(checkpoint: Path, engine: EchoEngine, tmp_path: Path) -> Service:
    file = tmp_path / "keys.yaml"
    file.write_text(FILE)
    ring = KeyRing((), file)
    made = make_service(checkpoint, engine, server={"api_keys": [FAST, SLOW], "api_key_file": file})
    capacity = Capacity(4, 4, 8, 3600.0, 30.0, 1 << 30, tokens_per_minute=100_000)
    admission = AdmissionController(capacity, classes=ring, audit=AdmissionLog(ring))
    made.metrics.watch_load(lambda: admission.load)
    parts = {name: getattr(made, name) for name in Service.__slots__}
    return Service(**{**parts, "keys": ring, "admission": admission})


async def ask(service: Service, key: str, said: str = "hello") -> httpx.Response:
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    body = {"messages": [{"role": "user", "content": said}]}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        headers = {"authorization": f"Bearer {key}", "x-request-id": "audit-1"}
        return await client.post("/v1/chat/completions", json=body, headers=headers)


@pytest.mark.promise("R1", "R3")
async def test_keys_rotate_without_a_restart(keyed: Service, caplog: pytest.LogCaptureFixture) -> None:
    file = keyed.settings.server.api_key_file
    assert file is not None
    assert [(await ask(keyed, key)).status_code for key in (FAST, "next")] == [200, 401]
    write(file, f"keys: [{{sha256: {sha256('next')}}}]")
    caplog.set_level(logging.INFO, "antiphon.keys")
    keyed.keys.reload_if_changed()
    assert [(await ask(keyed, key)).status_code for key in (FAST, SLOW, "next")] == [401, 401, 200]
    (record,) = [one for one in caplog.records if one.name == "antiphon.keys"]
    assert record.fields == {"added": 1, "removed": 2, "keys": 1}  # type: ignore[attr-defined]


@pytest.mark.promise("R1")
@pytest.mark.parametrize(
    "text", ["", "keys: []", "keys: [", "keys: 2026-99-99", pytest.param("[" * 5000, id="deep"), None]
)
async def test_a_file_that_cannot_be_used_changes_nothing_and_never_opens_the_server(
    keyed: Service, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = keyed.settings.server.api_key_file
    assert file is not None
    if text is None:
        file.unlink()
    else:
        write(file, text)
    keyed.keys.reload_if_changed()
    keyed.keys.reload_if_changed()
    assert [(await ask(keyed, key)).status_code for key in (FAST, "", "next")] == [200, 401, 401]
    (record,) = [one for one in caplog.records if one.name == "antiphon.keys"]
    assert "cannot be used" in record.getMessage()


async def test_the_file_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon_server.process.lifecycle_tasks._KEYS_EVERY_S", 0.01)
    file = tmp_path / "keys"
    file.write_text("one\n")
    ring = KeyRing((), file)
    watching = asyncio.create_task(watch_keys(ring))
    write(file, "two\n")
    async with asyncio.timeout(60):
        while not ring.knows(sha256("two")):  # noqa: ASYNC110 - a file is watched
            await asyncio.sleep(0.01)
    assert not ring.knows(sha256("one"))
    watching.cancel()


async def test_a_file_is_read_only_when_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon_server.process.lifecycle_tasks._KEYS_EVERY_S", 0)
    stamps = iter([1, 2, 3, 3])
    seen: list[int] = []
    read = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Written:
        """A key file that grows at the first looks."""

        def stamp(self) -> int:
            seen.append(next(stamps, 3))
            return seen[-1]

        def reload_if_changed(self) -> None:
            loop.call_soon_threadsafe(read.set)
            assert seen[:4] == [1, 2, 3, 3]

    watching = asyncio.create_task(watch_keys(cast("KeyRing", Written())))
    async with asyncio.timeout(60):
        await read.wait()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


def test_keys_of_the_environment_stay_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("one\n")
    ring = KeyRing([sha256("fixed"), sha256("one")], file)
    write(file, "two\n")
    ring.reload_if_changed()
    assert [ring.knows(sha256(key)) for key in ("fixed", "one", "two")] == [True, False, True]


@pytest.mark.promise("R15")
async def test_a_class_has_limits_of_its_own(keyed: Service) -> None:
    fast, slow = await ask(keyed, FAST), await ask(keyed, SLOW)
    assert fast.headers["x-ratelimit-limit-tokens"] == "100000"
    assert slow.headers["x-ratelimit-limit-tokens"] == "30"
    spent = [(await ask(keyed, SLOW, LONG)).status_code for _ in range(3)]
    assert spent[-1] == 429
    assert (await ask(keyed, FAST, LONG)).status_code == 200
    owner = sha256(SLOW)
    order = keyed.admission._order
    assert (order.requests_limit(owner), order.requests_limit(f"{owner}:tenant")) == (1, 1)
    assert order.requests_limit(sha256(FAST)) == 0


@pytest.mark.promise("R3", "R30")
async def test_metrics_name_the_class_and_never_the_key(keyed: Service) -> None:
    for key in (FAST, FAST, SLOW):
        await ask(keyed, key)
    text = keyed.metrics.render().decode()
    assert "canary" not in text
    assert not any(sha256(key) in text for key in (FAST, SLOW))
    families = text_string_to_metric_families(text)
    found = {(s.name, s.labels.get("key_class")): s.value for f in families for s in f.samples}
    assert found["antiphon_class_requests_total", "default"] == 2
    assert found["antiphon_class_requests_total", "slow"] == 1
    used = [found["antiphon_class_tokens_total", name] for name in ("default", "slow")]
    assert used[0] == 2 * used[1] > 0


@pytest.mark.promise("R3", "R29")
async def test_each_admission_and_refusal_is_logged_by_request_id_without_a_key(keyed: Service) -> None:
    seen: list[tuple[str, logging.LogRecord]] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append((request_id.get(), record))  # type: ignore[method-assign]
    logger = logging.getLogger("antiphon.admission")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        while (await ask(keyed, SLOW, LONG)).status_code == 200:
            pass
    finally:
        logger.removeHandler(handler)
    assert {identity for identity, _ in seen} == {"audit-1"}
    first, last = seen[0][1], seen[-1][1]
    assert (first.getMessage(), last.getMessage()) == ("admitted", "refused")
    assert first.fields["class"] == "slow"  # type: ignore[attr-defined]
    assert last.fields["code"] == "rate_limit_exceeded"  # type: ignore[attr-defined]
    lines = [JsonFormatter().format(record) for _, record in seen]
    assert all(json.loads(line) and "canary" not in line and "hello" not in line for line in lines)


def test_admissions_are_not_logged_unless_asked_for(service: Service) -> None:
    assert service.settings.logs.admissions is False


@pytest.mark.promise("R3")
def test_no_key_is_reachable_from_the_settings_or_the_ring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("keys: [{key: canary-of-the-file}]")
    monkeypatch.setenv("ANTIPHON_API_KEY", "canary-of-the-environment")
    loaded = load({"engine.model": "/m", "server.api_key_file": str(file)})
    os.environ.pop("ANTIPHON_API_KEY")
    ring = KeyRing((one.get_secret_value() for one in loaded.settings.server.api_keys), file)
    reached: set[int] = set()
    waiting: list[object] = [loaded.settings.server, vars(ring)]
    while waiting:
        one = waiting.pop()
        if id(one) not in reached and not isinstance(one, type):
            reached.add(id(one))
            assert not (isinstance(one, str) and one.startswith("canary-of")), one
            waiting += gc.get_referents(one)
    assert ring.knows(sha256("canary-of-the-environment"))
    assert ring.knows(sha256("canary-of-the-file"))
