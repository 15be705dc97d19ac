"""`/v1/files` over HTTP: OpenAI's shapes, limits while a body arrives, other keys, and use in chat."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from antiphon_server.chat.service import Service
from antiphon_server.files.policy import FilePolicy
from antiphon_server.http.app import create_app
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.echo_engine import EchoEngine
from tests.machine import Patience
from tests.server.parts import make_service
from tests.server.raw_http import connected, exchange, serving

CHAT = "/v1/chat/completions"
ALICE, BOB = "alice-key", "bob-key"
MIB = 1 << 20
POLICY = FilePolicy(free_disk_bytes=0, file_bytes=4 * MIB)


def tone_wav(seconds: float = 1.0) -> bytes:
    samples = (np.sin(2 * np.pi * 440 * np.arange(int(seconds * 16_000)) / 16_000) * 9_000).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return out.getvalue()


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 0, 0)).save(out, "PNG")
    return out.getvalue()


WAV = tone_wav()


@pytest.fixture(scope="module")
async def media() -> AsyncIterator[MediaLoader]:
    media = MediaLoader(MediaPolicy())
    await media.start()
    yield media
    await media.close()


@pytest.fixture
async def service(checkpoint: Path, engine: EchoEngine, media: MediaLoader) -> AsyncIterator[Service]:
    made = make_service(checkpoint, engine, server={"api_keys": (ALICE, BOB)}, files=POLICY)
    made.files.start(None)
    yield dataclasses.replace(made, media=media)
    made.files.close()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=of(ALICE)
    ) as client:
        yield client


def of(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def stored_names(service: Service) -> list[str]:
    assert service.files._temporary is not None
    return sorted(file.name for file in Path(service.files._temporary.name).iterdir())


async def upload(client: httpx.AsyncClient, data: bytes = WAV, name: str = "a.wav", **fields: str) -> Any:
    answer = await client.post(
        "/v1/files", files={"file": (name, data)}, data={"purpose": "user_data", **fields}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(*parts: dict[str, Any], text: str = "what is this") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text}, *parts]}]}


async def test_head_on_a_files_content_reads_none_of_it(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await upload(client)
    got = await client.get(f"/v1/files/{made['id']}/content")
    monkeypatch.setattr("antiphon_server.http.routes.files._pieces", None)
    head = await client.head(f"/v1/files/{made['id']}/content")
    assert (head.status_code, head.content) == (200, b"")
    shown = ("content-length", "content-type", "content-disposition", "content-security-policy")
    assert [head.headers[name] for name in shown] == [got.headers[name] for name in shown]
    assert (await client.head("/v1/files/file-unknown/content")).status_code == 404


async def test_an_upload_is_described_listed_downloaded_and_deleted(client: httpx.AsyncClient) -> None:
    made = await upload(client, name="../talk.wav")
    lifetime_s = POLICY.lifetime_s
    assert made == {
        "id": made["id"], "object": "file", "bytes": len(WAV), "created_at": made["created_at"],
        "expires_at": made["created_at"] + lifetime_s, "filename": "talk.wav", "purpose": "user_data",
        "status": "processed", "status_details": None,
    }  # fmt: skip
    assert (await client.get(f"/v1/files/{made['id']}")).json() == made
    listed = (await client.get("/v1/files")).json()
    assert listed == {
        "object": "list", "data": [made], "first_id": made["id"], "last_id": made["id"], "has_more": False
    }  # fmt: skip
    content = await client.get(f"/v1/files/{made['id']}/content")
    assert content.content == WAV
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.headers["content-disposition"].startswith("attachment")
    assert content.headers["x-content-type-options"] == "nosniff"
    deleted = await client.delete(f"/v1/files/{made['id']}")
    assert deleted.json() == {"id": made["id"], "object": "file", "deleted": True}
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert (await client.request(method, f"/v1/files/{made['id']}{path}")).status_code == 404


async def test_pages_of_the_list(client: httpx.AsyncClient) -> None:
    made = sorted([(await upload(client, name=f"{n}.wav"))["id"] for n in range(5)])
    order = [one["id"] for one in (await client.get("/v1/files?order=asc")).json()["data"]]
    assert sorted(order) == made
    first = (await client.get("/v1/files?order=asc&limit=2")).json()
    assert [one["id"] for one in first["data"]] == order[:2]
    assert first["has_more"]
    rest = (await client.get(f"/v1/files?order=asc&limit=3&after={first['last_id']}")).json()
    assert [one["id"] for one in rest["data"]] == order[2:]
    assert not rest["has_more"]
    assert [one["id"] for one in (await client.get("/v1/files")).json()["data"]] == order[::-1]
    assert (await client.get("/v1/files?purpose=batch")).json()["data"] == []
    beyond = await client.get(f"/v1/files?purpose=batch&after={first['last_id']}")
    assert (beyond.status_code, beyond.json()["data"]) == (200, [])
    assert (await client.get("/v1/files?after=file-unknown")).status_code == 404
    assert (await client.get("/v1/files?limit=0")).status_code == 400


async def test_a_file_of_another_key_does_not_exist(client: httpx.AsyncClient) -> None:
    made = await upload(client)
    bob = of(BOB)
    assert (await client.get("/v1/files", headers=bob)).json()["data"] == []
    unknown = (await client.get("/v1/files/file-" + "0" * 32, headers=bob)).json()
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        answer = await client.request(method, f"/v1/files/{made['id']}{path}", headers=bob)
        assert answer.status_code == 404
        assert answer.text == json.dumps(unknown, separators=(",", ":")).replace(
            "file-" + "0" * 32, made["id"]
        )
    part = {"type": "file", "file": {"file_id": made["id"]}}
    answer = await client.post(CHAT, json=ask(part), headers=bob)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "file_not_found"
    assert answer.json()["error"]["param"] == "messages[0].content[1]"


@pytest.mark.parametrize(
    "part",
    [
        lambda i: {"type": "file", "file": {"file_id": i}},
        lambda i: {"type": "file", "file_id": i},
        lambda i: {"type": "input_audio", "input_audio": {"file_id": i}},
        lambda i: {"type": "input_audio", "file_id": i},
        lambda i: {"type": "audio_url", "audio_url": {"file_id": i}},
    ],
)
async def test_audio_by_its_file_is_heard_as_if_it_were_sent(
    client: httpx.AsyncClient, engine: EchoEngine, part: Any
) -> None:
    made = await upload(client)
    answer = await client.post(CHAT, json=ask(part(made["id"])))
    assert answer.status_code == 200, answer.text
    [clip] = engine.requests[-1].media.audios
    samples = np.frombuffer(WAV[44:], "<i2").astype(np.float32) / 32_768
    np.testing.assert_array_equal(clip.samples, samples)


@pytest.mark.parametrize(
    "part",
    [
        lambda i: {"type": "file", "file": {"file_id": i, "filename": "x.png"}},
        lambda i: {"type": "image_url", "image_url": {"file_id": i, "detail": "low"}},
        lambda i: {"type": "image_url", "file_id": i, "max_pixels": 4096},
    ],
)
async def test_an_image_by_its_file_is_seen(client: httpx.AsyncClient, engine: EchoEngine, part: Any) -> None:
    made = await upload(client, png(), "red.png")
    answer = await client.post(CHAT, json=ask(part(made["id"])))
    assert answer.status_code == 200, answer.text
    [image] = engine.requests[-1].media.images
    assert image.pixels[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "file", "file": {"file_data": "AAAA"}}, "messages[0].content[1].file.file_"),
        ({"type": "file", "file": {}}, "messages[0].content[1].file.file_id"),
        ({"type": "file"}, "messages[0].content[1].file"),
        ({"type": "image_url", "image_url": {}}, "messages[0].content[1].image_url.url"),
        (
            {"type": "input_audio", "input_audio": {"file_id": ""}},
            "messages[0].content[1].input_audio.file_id",
        ),
        (
            {"type": "video_url", "video_url": {"file_id": "file-1", "url": "x"}},
            "messages[0].content[1].video_url.url",
        ),
        ({"type": "text", "file_id": "file-1"}, "messages[0].content[1]"),
    ],
)
async def test_an_invalid_part_names_its_field(
    client: httpx.AsyncClient, part: dict[str, Any], param: str
) -> None:
    answer = await client.post(CHAT, json=ask(part))
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith(param)


async def test_a_file_counts_against_the_limits_of_media(checkpoint: Path, engine: EchoEngine) -> None:
    media = MediaLoader(MediaPolicy(part_bytes=1_000))
    await media.start()
    made = make_service(checkpoint, engine, files=POLICY)
    made.files.start(None)
    app = create_app(dataclasses.replace(made, media=media))
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as client:
            stored = await upload(client)
            answer = await client.post(CHAT, json=ask({"type": "file", "file_id": stored["id"]}))
            assert answer.json()["error"]["code"] == "media_limit_exceeded"
    finally:
        await media.close()
        made.files.close()


async def test_fields_after_the_file_and_a_shorter_lifetime(client: httpx.AsyncClient) -> None:
    files = [
        ("file", ("a.wav", WAV)),
        ("expires_after[anchor]", (None, "created_at")),
        ("expires_after[seconds]", (None, "3600")),
        ("purpose", (None, "user_data")),
    ]
    answer = await client.post("/v1/files", files=files)
    made = answer.json()
    assert made["expires_at"] == made["created_at"] + 3_600


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "batch"}, "purpose"),
        ({}, "purpose"),
        ({"purpose": "user_data", "expires_after[seconds]": "-1"}, "expires_after[seconds]"),
        ({"purpose": "user_data", "expires_after[anchor]": "last_active_at"}, "expires_after[anchor]"),
        ({"purpose": "user_data" * 100}, "purpose"),
        ({"purpose": "user_data", "model": "x"}, None),
    ],
)
async def test_an_invalid_form_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient, service: Service, fields: dict[str, str], param: str | None
) -> None:
    answer = await client.post("/v1/files", files={"file": ("a.wav", WAV)}, data=fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert stored_names(service) == []
    assert service.files.usage.files == 0


async def test_bodies_that_are_no_upload(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/files", json={"purpose": "user_data"})).status_code == 415
    for body in (b"", b"--cut--", b"--cut\r\n"):
        headers = {"content-type": "multipart/form-data; boundary=cut"}
        assert (await client.post("/v1/files", content=body, headers=headers)).status_code == 400
    only_purpose = await client.post("/v1/files", files={"purpose": (None, "user_data")})
    assert only_purpose.json()["error"]["param"] == "file"
    two = [("file", ("a", WAV)), ("file", ("b", WAV)), ("purpose", (None, "user_data"))]
    assert (await client.post("/v1/files", files=two)).status_code == 400


@pytest.mark.parametrize("path", ["..%2f..%2fetc%2fpasswd", "%2e%2e", "file-..", "file-%00", "file-%0d%0aa"])
async def test_paths_reach_no_other_file(client: httpx.AsyncClient, path: str) -> None:
    for method, end in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        answer = await client.request(method, f"/v1/files/{path}{end}")
        assert answer.status_code == 404
        assert "root:" not in answer.text


def head(length: str, extra: str = "") -> bytes:
    return (
        "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice-key\r\n"
        f"Content-Type: multipart/form-data; boundary=cut\r\n{length}\r\n{extra}\r\n"
    ).encode()


FILE_HEAD = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


async def test_a_file_over_its_limit_is_refused_by_its_length_and_while_it_arrives(service: Service) -> None:
    async with serving(create_app(service), service.settings.server) as port:
        by_length = await exchange(port, head(f"Content-Length: {64 * MIB}"))
        assert (by_length.status, json.loads(by_length.body)["error"]["code"]) == (413, "file_too_large")
        piece = FILE_HEAD + WAV + bytes(5 * MIB)
        chunk = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        by_count = await exchange(port, head("Transfer-Encoding: chunked") + chunk)
        assert by_count.status == 413
    assert stored_names(service) == []


async def test_a_client_that_leaves_during_an_upload_leaves_nothing(service: Service) -> None:
    async with serving(create_app(service), service.settings.server) as port:
        async with connected(port) as (_, writer):
            writer.write(head(f"Content-Length: {3 * MIB}") + FILE_HEAD + WAV + bytes(2 * MIB))
            await writer.drain()
            patience = Patience(10)
            while not stored_names(service):
                assert not patience.is_over()
                await asyncio.sleep(0.005)
        patience = Patience(10)
        while stored_names(service) or service.files.usage.files:
            assert not patience.is_over()
            await asyncio.sleep(0.005)
    assert service.files.counts.failed == 1


async def test_an_upload_that_stops_arriving_is_refused(checkpoint: Path, engine: EchoEngine) -> None:
    service = make_service(
        checkpoint, engine, server={"api_keys": (ALICE,), "timeouts": {"body_idle_s": 0.2}}, files=POLICY
    )
    service.files.start(None)
    async with serving(create_app(service), service.settings.server) as port:
        answer = await exchange(port, head("Content-Length: 100000") + FILE_HEAD + WAV[:1_000])
        assert answer.status == 408
    assert stored_names(service) == []
    service.files.close()


async def test_an_upload_passes_the_limit_of_other_bodies(checkpoint: Path, engine: EchoEngine) -> None:
    """It is never in memory as a whole."""
    service = make_service(checkpoint, engine, server={"limits": {"body_bytes": 1_024}}, files=POLICY)
    service.files.start(None)
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await upload(client, WAV + bytes(2 * MIB))
        assert (await client.post(CHAT, content=b'"' + b"x" * 2_000 + b'"')).status_code == 413
    service.files.close()


async def test_the_metrics_count_files(client: httpx.AsyncClient, service: Service) -> None:
    service.metrics.watch_files(service.files)
    made = await upload(client)
    await upload(client)
    await client.delete(f"/v1/files/{made['id']}")
    text = (await client.get("/metrics")).text
    assert "antiphon_files 1.0" in text
    assert f"antiphon_files_bytes {float(len(WAV))}" in text
    assert 'antiphon_file_events_total{event="stored"} 2.0' in text
    assert 'antiphon_file_events_total{event="deleted"} 1.0' in text
    assert 'antiphon_request_duration_seconds_count{route="/v1/files"} 3.0' in text


async def test_uploads_are_read_by_responses_too(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    made = await upload(client, png(), "x.png")
    parts = [{"type": kind, "file_id": made["id"]} for kind in ("input_image", "input_file")]
    answer = await client.post("/v1/responses", json={"input": [{"role": "user", "content": parts}]})
    assert answer.status_code == 200, answer.text
    assert len(engine.requests[0].media.images) == 2
