"""Decoder processes start with the server, which fails with the reason if they do not, and end with it."""

from __future__ import annotations

import sys

import psutil  # type: ignore[import-untyped]
import pytest

from antiphon_server.errors import InternalError
from antiphon_server.media import loader as loading
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox import fork_connection
from antiphon_server.media.sandbox.pool import Sandbox


def decoders() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


async def test_closing_leaves_no_process() -> None:
    before = {process.pid for process in decoders()}
    sandbox = Sandbox(MediaPolicy(decode_workers=3))
    await sandbox.start()
    started = {process.pid for process in decoders()} - before
    assert len(started) == 1
    await sandbox.close()
    assert not any(psutil.pid_exists(pid) for pid in started)


async def test_a_decoder_that_does_not_start_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    sandbox = Sandbox(MediaPolicy())
    with pytest.raises(InternalError, match="a media decoder did not start"):
        await sandbox.start()


async def test_the_log_says_why_the_decoders_did_not_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fork_connection, "_MODULE", ("-I", "-c", "raise OSError('no codecs')"))
    with pytest.raises(InternalError):
        await Sandbox(MediaPolicy()).start()
    assert "the media decoders did not start: OSError: no codecs" in caplog.text


async def test_a_decoder_that_does_not_decode_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "wav_header", lambda *_: b"no sound")
    with pytest.raises(InternalError, match="a confined media decoder does not decode"):
        await MediaLoader(MediaPolicy()).start()
