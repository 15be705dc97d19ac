"""Checks before anything is loaded: access, checkpoint, disk, port. Each takes milliseconds.

A failed check raises `StartupError` with an exit code and a hint.
"""

from __future__ import annotations

import errno
import shutil
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

from antiphon_executor.interface.tokenizer_files import tokenizer_file
from antiphon_server.config.addresses import is_loopback
from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.config.settings import ServerSettings, Settings
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.process.checkpoint_config import check_config, check_talker_tensors, required_tensors
from antiphon_server.process.checkpoint_kind import CheckpointKind, read_config
from antiphon_server.process.weight_files import check_weights, refuse_pointers

# The parts of a checkpoint, by the prefixes of their tensors' names.
_TEXT_PARTS = ("thinker",)
_SPEECH_PARTS = (*_TEXT_PARTS, "talker", "code2wav")
_LISTEN_BACKLOG = 1024
_LEAST_KEY_BYTES = 32
# Four seconds of speech as base64. The kernel's own buffer grows to a minute of speech, and a client that has
# stopped reading would go unnoticed for that long.
_SEND_BUFFER_BYTES = 128 << 10


def check_machine(settings: Settings) -> None:
    """What needs no model, so that an hour's download does not end at a taken port. Raises `StartupError`."""
    server = settings.server
    check_access(server)
    check_tls(server)
    check_signing_key(settings.realtime)
    check_disk(Path(tempfile.gettempdir()), server.limits.free_disk_bytes)
    listen(server.host, server.port, server.timeouts.stalled_client_s).close()


def check_before_loading(settings: Settings) -> None:
    """The checkpoint. Raises `StartupError`."""
    check_checkpoint(settings.engine.model, settings.engine.speech)
    # Last: for a new checkpoint it takes seconds.
    check_tokenizer(settings.engine.model)


def check_access(server: ServerSettings) -> None:
    """Without a key the server stays on this machine, and CORS does not allow every origin."""
    if "*" in server.allowed_origins and not server.api_keys:
        raise StartupError(
            ExitCode.INSECURE,
            "refusing --allowed-origins '*' without an API key: any web page could use the server",
            "name the origins, or set ANTIPHON_API_KEY or --api-key-file",
        )
    if is_loopback(server.host) or server.api_keys or server.insecure:
        return
    raise StartupError(
        ExitCode.INSECURE,
        f"refusing to serve on {server.host} without an API key",
        "set ANTIPHON_API_KEY or --api-key-file, or give --insecure",
    )


def check_tls(server: ServerSettings) -> None:
    """Certificate and key are given together, can be read, and belong together."""
    certificate, key = server.tls_certificate_file, server.tls_key_file
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise StartupError(
            ExitCode.BAD_CONFIG, "TLS needs both --server.tls-certificate-file and --server.tls-key-file"
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_refuse_password)
    except (OSError, ValueError) as error:
        reason = (
            error.strerror
            if isinstance(error, FileNotFoundError | PermissionError)
            else "they are not a pair"
        )
        message = f"{certificate} and {key} cannot be used for TLS: {reason}"
        raise StartupError(ExitCode.BAD_CONFIG, message) from None


def _refuse_password() -> str:
    raise ValueError("the key has a password")


def check_signing_key(policy: RealtimePolicy) -> None:
    """The file of the key can be read, and has enough in it to be a secret."""
    path = policy.signing_key_file
    if path is None:
        return
    try:
        size = len(path.read_bytes().strip())
    except OSError as error:
        raise StartupError(ExitCode.BAD_CONFIG, f"{path} cannot be read: {error.strerror}") from None
    if size < _LEAST_KEY_BYTES:
        raise StartupError(
            ExitCode.BAD_CONFIG,
            f"{path} has {size} bytes; a signing key needs {_LEAST_KEY_BYTES}",
            "write one with 'openssl rand -hex 32'",
        )


def check_checkpoint(path: Path, speaks: bool) -> None:
    """Configuration and weights are complete and fit each other. Reads no more than headers."""
    config = check_model(path)
    speaks = speaks and CheckpointKind.of(config).has_talker
    if speaks:
        check_config(path / "config.json", config)
    required = tuple(required_tensors(config, speaks))
    names = check_weights(path, _SPEECH_PARTS if speaks else _TEXT_PARTS, required)
    if speaks:
        check_talker_tensors(path, names)


def check_model(path: Path) -> dict[str, Any]:
    """The configuration. The folder must hold a checkpoint of a supported architecture."""
    if not path.exists():
        hint = "give a folder, or a name such as Qwen/Qwen3-Omni-30B-A3B-Instruct"
        raise StartupError(ExitCode.NO_MODEL, f"there is no model at {path}", hint)
    refuse_pointers(path)
    return read_config(path)


def check_tokenizer(path: Path) -> None:
    """There is a tokenizer.json, or it can be built."""
    try:
        file = tokenizer_file(path)
    except OSError as error:
        raise StartupError(ExitCode.NOT_A_CHECKPOINT, str(error)) from None
    if not file.is_file():
        problem = f"{path} has neither tokenizer.json nor vocab.json and merges.txt"
        raise StartupError(
            ExitCode.NOT_A_CHECKPOINT, problem, "the download may be incomplete: fetch the files again"
        )


def check_disk(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise StartupError(
            ExitCode.NO_SPACE,
            f"{folder} has {free_bytes >> 20} MiB free; {needed_bytes >> 20} MiB are needed",
            "free some space, or point TMPDIR at another disk",
        )


def listen(host: str, port: int, stalled_client_s: float) -> socket.socket:
    """A listening socket. The kernel too drops clients that read nothing for `stalled_client_s`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError:
        raise StartupError(
            ExitCode.BAD_CONFIG, f"server.host: {host} is not an address of this machine"
        ) from None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stalled_client_s * 1000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    try:
        sock.bind(address)
        sock.listen(_LISTEN_BACKLOG)
    except OSError as error:
        sock.close()
        raise _cannot_listen(host, port, error) from None
    sock.setblocking(False)
    return sock


def _cannot_listen(host: str, port: int, error: OSError) -> StartupError:
    match error.errno:
        case errno.EADDRINUSE:
            hint = (
                f"stop the other program, or choose another with --port {port + 1 if port < 65_535 else 8000}"
            )
            return StartupError(ExitCode.PORT_BUSY, f"port {port} on {host} is taken", hint)
        case errno.EACCES:
            return StartupError(
                ExitCode.PORT_BUSY, f"port {port} needs administrator rights", "choose one above 1023"
            )
        case _:
            message = f"server.host: {host} is not an address of this machine"
            return StartupError(ExitCode.BAD_CONFIG, message)
