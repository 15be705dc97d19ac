"""OpenAI's objects of uploaded files."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class FileObject(BaseModel):
    """`created_at`, `expires_at`: Unix seconds. A file can be used as soon as it is uploaded."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: Literal["user_data"] = "user_data"
    status: Literal["processed"] = "processed"
    status_details: None = None


class FileList(BaseModel):
    """One page of a key's files. `has_more`: request the next with `after: last_id`."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(BaseModel):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
