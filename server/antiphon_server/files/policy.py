"""Limits on uploaded files, with their defaults."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_MIB = 1 << 20


class FilePolicy(BaseModel):
    """The operator sets them; a client can only shorten the lifetime of its own file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = Field(
        None,
        description="Folder of uploaded files, for one server alone. Default: antiphon/files-PORT in "
        "$XDG_STATE_HOME or ~/.local/state; a temporary folder if the port is 0.",
    )
    file_bytes: int = Field(1024 * _MIB, ge=1, description="Bytes of one uploaded file.")
    key_bytes: int = Field(4096 * _MIB, ge=0, description="Bytes of all files of one API key.")
    key_files: int = Field(100, ge=0, description="Files of one API key; 0 switches uploads off.")
    total_bytes: int = Field(16_384 * _MIB, ge=0, description="Bytes of all uploaded files.")
    total_files: int = Field(1_000, ge=0, le=100_000, description="Uploaded files of all keys.")
    free_disk_bytes: int = Field(
        1024 * _MIB, ge=0, description="Disk space that uploads leave free; an upload that needs it gets 507."
    )
    lifetime_s: int = Field(
        172_800, ge=1, description="Seconds after which a file is deleted; clients can ask for less."
    )
    upload_s: float = Field(1_800.0, gt=0, description="Seconds in which an upload must arrive.")
