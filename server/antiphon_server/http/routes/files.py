"""`/v1/files`: uploads that chat requests use by their id, in OpenAI's format."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError, BadRequest, RequestTimeout
from antiphon_server.files.multipart import MultipartReader, PartData, PartEnd, PartStart
from antiphon_server.files.record import FileRecord
from antiphon_server.files.store import FileStore
from antiphon_server.files.upload import Upload, too_large
from antiphon_server.http.body_type import MULTIPART, STREAMED
from antiphon_server.http.refusal import RefusalResponse
from antiphon_server.http.routes.request_body import owner_of
from antiphon_server.openai_api.files import DeletedFile, FileList, FileObject

router = APIRouter(tags=["files"])

_PIECE_BYTES = 256 << 10
# Of the body beside the file's bytes.
_FORM_BYTES = 64 << 10
_FIELD_BYTES = 256
_LONGEST_LIFETIME_S = 10**9
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_FORM: dict[str, Any] = {
    "title": "UploadForm",
    "description": "A file, and how long it is kept.",
    "type": "object",
    "required": ["purpose", "file"],
    "additionalProperties": False,
    "properties": {
        "purpose": {"type": "string", "enum": ["user_data"]},
        "file": {"type": "string", "format": "binary"},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": 1, "maximum": _LONGEST_LIFETIME_S},
    },
}


@router.post(
    "/v1/files",
    summary="Upload a file for chat requests",
    response_model=FileObject,
    openapi_extra={
        "requestBody": {"required": True, "content": {MULTIPART: {"schema": _FORM}}},
        STREAMED: True,
    },
)
async def upload_file(request: Request) -> Response:
    """Audio, an image or a video. Only requests with the same API key can use it, until it expires."""
    service: Service = request.app.state.service
    try:
        async with asyncio.timeout(service.files.policy.upload_s):
            record = await _receive(request, service)
    except TimeoutError:
        return RefusalResponse(RequestTimeout("the file did not arrive in time"))
    except ApiError as error:
        return RefusalResponse(error)
    return Response(_object_of(record).model_dump_json(), media_type="application/json")


@router.get("/v1/files", summary="List the files of this API key")
async def list_files(
    request: Request,
    purpose: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> FileList:
    store, owner = _store_and_owner(request)
    records = store.of_key(owner)
    if order == "desc":
        records.reverse()
    if after is not None:
        store.find(owner, after, "after")
        known = [record.id for record in records]
        # Between the two looks the file may have expired.
        records = records[1 + known.index(after) :] if after in known else []
    if purpose not in (None, "user_data"):
        records = []
    page = [_object_of(record) for record in records[:limit]]
    return FileList(
        data=page,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
        has_more=len(records) > limit,
    )


@router.get("/v1/files/{file_id}", summary="Describe a file")
async def get_file(request: Request, file_id: str) -> FileObject:
    store, owner = _store_and_owner(request)
    return _object_of(store.find(owner, file_id).record)


@router.get(
    "/v1/files/{file_id}/content",
    summary="Download a file",
    response_class=StreamingResponse,
    responses={200: {"description": "The bytes as they were uploaded", "content": _BYTES}},
)
async def get_content(request: Request, file_id: str) -> Response:
    """The bytes as they were uploaded, for no browser to open."""
    store, owner = _store_and_owner(request)
    stored = store.find(owner, file_id)
    headers = {
        "content-length": str(stored.size_bytes),
        "content-disposition": f'attachment; filename="{file_id}"',
        "content-security-policy": "sandbox; default-src 'none'",
        "cache-control": "no-store",
    }
    file = stored.open()
    if request.method == "HEAD":
        file.close()
        return Response(headers=headers, media_type="application/octet-stream")
    return StreamingResponse(_pieces(file), headers=headers, media_type="application/octet-stream")


@router.delete("/v1/files/{file_id}", summary="Delete a file")
async def delete_file(request: Request, file_id: str) -> DeletedFile:
    store, owner = _store_and_owner(request)
    await store.delete(owner, file_id)
    return DeletedFile(id=file_id)


async def _receive(request: Request, service: Service) -> FileRecord:
    """Reads the form. Its file goes to disk as it arrives, its fields may come before or after it."""
    store = service.files
    limit = store.policy.file_bytes
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit + _FORM_BYTES:
        raise too_large(limit)
    reader = MultipartReader(request.headers.get("content-type", "").encode("latin-1"))
    async with store.upload(owner_of(request, service) or "") as upload:
        form = _Form(upload)
        received = 0
        idle_s = service.settings.server.timeouts.body_idle_s
        pieces = request.stream()
        while True:
            async with asyncio.timeout(idle_s):
                piece = await anext(pieces, None)
            if piece is None:
                break
            received += len(piece)
            if received > limit + _FORM_BYTES:
                raise too_large(limit)
            for event in reader.read(piece):
                await form.take(event)
        if not reader.is_complete:
            raise BadRequest("the body ends before its last boundary", code="invalid_multipart")
        return await form.complete()


class _Form:
    """The fields of an upload's form, and its one file."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._part: PartStart | None = None
        self._file: PartStart | None = None
        self._fields: dict[str, bytearray] = {}

    async def take(self, event: PartStart | PartData | PartEnd) -> None:
        match event:
            case PartStart():
                self._begin(event)
            case PartData(data) if self._part is self._file:
                await self._upload.write(data)
            case PartData(data) if self._part is not None:
                value = self._fields[self._part.name]
                value += data
                if len(value) > _FIELD_BYTES:
                    raise BadRequest("the value is too long", param=self._part.name)
            case _:
                self._part = None

    async def complete(self) -> FileRecord:
        if self._file is None:
            raise BadRequest("the form has no file", param="file", code="missing_required_parameter")
        if "purpose" not in self._fields:
            raise BadRequest(
                "the form has no purpose", param="purpose", code="missing_required_parameter",
                hint='send purpose "user_data"',
            )  # fmt: skip
        self._require("purpose", "user_data")
        self._require("expires_after[anchor]", "created_at")
        return await self._upload.complete(
            self._file.filename or "", self._file.content_type, self._lifetime_s()
        )

    def _begin(self, part: PartStart) -> None:
        name = part.name
        if name == "file":
            if self._file is not None:
                raise BadRequest("the form has two files", param="file")
            self._file = part
        elif name in _FORM["properties"] and name not in self._fields:
            self._fields[name] = bytearray()
        else:
            raise BadRequest("the form has a field that is unknown or repeated", code="unknown_parameter")
        self._part = part

    def _require(self, name: str, value: str) -> None:
        if self._fields.get(name, value.encode()) != value.encode():
            raise BadRequest(f'the only value that is supported is "{value}"', param=name)

    def _lifetime_s(self) -> int | None:
        given = self._fields.get("expires_after[seconds]")
        if given is None:
            return None
        if not given.isdigit() or not 0 < int(given) <= _LONGEST_LIFETIME_S:
            raise BadRequest("it is a number of seconds, at least 1", param="expires_after[seconds]")
        return int(given)


async def _pieces(file: io.FileIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
            yield piece


def _store_and_owner(request: Request) -> tuple[FileStore, str]:
    service: Service = request.app.state.service
    return service.files, owner_of(request, service) or ""


def _object_of(record: FileRecord) -> FileObject:
    return FileObject(
        id=record.id,
        bytes=record.size_bytes,
        created_at=record.created_at,
        expires_at=record.expires_at,
        filename=record.filename,
    )
