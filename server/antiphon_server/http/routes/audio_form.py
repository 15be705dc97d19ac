"""The form of a recording: its file, and its fields as a request type."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError

from antiphon_server.errors import BadRequest, PayloadTooLarge
from antiphon_server.files.multipart import MultipartReader, PartData, PartStart
from antiphon_server.openai_api.base import ApiModel
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.validation_errors import to_bad_request

F = TypeVar("F", bound=ApiModel)
C = TypeVar("C", list[str], dict[str, Any])

_FIELDS_BYTES = 256 << 10
# The file, and each item of every list: the longest list, of keywords, has 100.
_PARTS = 160
_FILE = "file"
# SDKs write a list as `name[]`, and an object as `name[key]`.
_KEYED = re.compile(r"(\w{1,64})(?:\[(\w{0,64})\])?")


async def read_audio_form(
    request: Request, model: type[F], file_bytes: int, client_json: ClientJson
) -> tuple[F, bytes]:
    """The fields and the file. Raises BadRequest, PayloadTooLarge and ClientDisconnect."""
    reader = MultipartReader(request.headers.get("content-type", "").encode("latin-1"), _PARTS)
    form = _Form(file_bytes)
    async for piece in request.stream():
        for event in reader.read(piece):
            if isinstance(event, PartStart):
                form.begin(event)
            elif isinstance(event, PartData):
                form.add(event.data)
    if not reader.is_complete:
        raise BadRequest("the body ends before its last boundary", code="invalid_multipart")
    return form.fields(model, client_json), form.file()


class _Form:
    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self._file: bytearray | None = None
        self._parts: list[tuple[str, bytearray]] = []
        self._now = bytearray()
        self._fields_bytes = 0

    def begin(self, part: PartStart) -> None:
        self._now = bytearray()
        if part.name == _FILE:
            if self._file is not None:
                raise BadRequest("The form has two files.", param=_FILE)
            self._file = self._now
        else:
            self._parts.append((part.name, self._now))

    def add(self, data: bytes) -> None:
        self._now += data
        if self._now is not self._file:
            self._fields_bytes += len(data)
        if len(self._now) > self._file_bytes or self._fields_bytes > _FIELDS_BYTES:
            limit = self._file_bytes / (1 << 20)
            raise PayloadTooLarge(f"the file is larger than {limit:g} MiB", param=_FILE)

    def file(self) -> bytes:
        if not self._file:
            code = "missing_required_parameter" if self._file is None else "empty_file"
            raise BadRequest("The form has no file, or an empty one.", param=_FILE, code=code)
        return bytes(self._file)

    def fields(self, model: type[F], client_json: ClientJson) -> F:
        given = _read_fields(self._parts, model, client_json)
        try:
            return model.model_validate(given)
        except ValidationError as error:
            raise to_bad_request(error, given, model) from None


def _read_fields(
    parts: list[tuple[str, bytearray]], model: type[ApiModel], client_json: ClientJson
) -> dict[str, Any]:
    """Lists and objects from all spellings. An empty value is one that is not given."""
    given: dict[str, Any] = {}
    for written, data in parts:
        found = _KEYED.fullmatch(written)
        value = _text(written, data)
        if found is None:
            raise BadRequest("The form has a field with an invalid name.", code="unknown_parameter")
        name, key = found[1], found[2]
        if not value:
            continue
        if key:
            inner = _given_as(dict, name, given)
            if key in inner:
                raise _twice(name)
            inner[key] = value
        elif key == "" or _is_list(name, model):
            _given_as(list, name, given).append(value)
        elif name in given:
            raise _twice(name)
        else:
            given[name] = _object(value, name, client_json)
    return given


def _given_as(kind: type[C], name: str, given: dict[str, Any]) -> C:
    """The list or object that several parts write. Raises BadRequest if one wrote something else."""
    value = given.setdefault(name, kind())
    if not isinstance(value, kind):
        raise _twice(name)
    return value


def _twice(name: str) -> BadRequest:
    return BadRequest(f"The field '{name}' is given twice.", param=name)


def _is_list(name: str, model: type[ApiModel]) -> bool:
    field = model.model_fields.get(name)
    return field is not None and isinstance(field.default, tuple)


def _object(value: str, name: str, client_json: ClientJson) -> Any:
    """An object may come as JSON; anything else stays text."""
    parsed = client_json.parse(value, name) if value.startswith("{") else None
    return value if parsed is None else parsed


def _text(name: str, data: bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadRequest("A field of the form is not UTF-8.", code="invalid_unicode") from None
