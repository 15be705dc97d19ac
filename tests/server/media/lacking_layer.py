"""Test program: starts media decoding on a simulated kernel that lacks one layer of the sandbox.

Arguments: a system call that fails, its first argument or -1 for any, and `strict`, `weak` (with the flag) or
`unchecked` (without the check at the start). It prints the operator's messages and the decoding result.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import errno
import io
import logging
import struct
import sys

from PIL import Image

from antiphon_server.errors import InternalError
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import AudioJob
from antiphon_server.media.sandbox.pool import Sandbox, SandboxTooWeak
from antiphon_server.media.source import MediaSource
from antiphon_server.media.wav_header import wav_header

NO_NEW_PRIVS, SECCOMP, FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000 | errno.EINVAL


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def lack(number: int, first: int) -> None:
    """Makes one system call fail, for this process and its children."""
    steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 1 if first == -1 else 3, number)]
    if first != -1:
        steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 3, number), (LOAD, 0, 0, 16), (EQUAL, 0, 1, first)]
    steps += [(RETURN, 0, 0, FAIL), (RETURN, 0, 0, ALLOW)]
    code = b"".join(struct.pack("<HBBI", *step) for step in steps)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(SECCOMP, FILTER, ctypes.byref(Program(len(steps), code)), 0, 0) == 0


async def decode(policy: MediaPolicy) -> None:
    loader = MediaLoader(policy)
    try:
        await loader.start()
    except SandboxTooWeak as error:
        print(error, "|", error.hint)
        return
    encoded = io.BytesIO()
    Image.new("RGB", (64, 48)).save(encoded, "PNG")
    source = MediaSource("image", (base64.b64encode(encoded.getvalue()).decode(),), "image")
    print("decoded", (await loader.load([source])).images[0].pixels.shape)
    await loader.close()


async def decode_unchecked(policy: MediaPolicy) -> None:
    sandbox = Sandbox(policy)
    try:
        job = AudioJob("wav", ("pcm_s16le",), 16, 16, 64)
        outcome = await sandbox.run_job(job, [wav_header(16, 16_000) + bytes(32)])
        print("decoded", outcome)
    except InternalError as error:
        print(error.message)
    await sandbox.close()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    lack(int(sys.argv[1]), int(sys.argv[2]))
    policy = MediaPolicy(allow_weak_sandbox=sys.argv[3] == "weak")
    asyncio.run(decode_unchecked(policy) if sys.argv[3] == "unchecked" else decode(policy))
