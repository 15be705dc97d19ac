"""The process that measures the cost of JSON schemas. It is started ahead and forks once for each schema.

A fork that passes its limits is killed, and its schema is `too_complex`. A dead process is started again. A
fork whose caller has left ends at once, because its socket closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from antiphon_executor.interface.grammar_verdict import CompileLimits, Verdict, decode_verdict
from antiphon_executor.interface.tokenizer_files import tokenizer_file
from antiphon_server.config.chat import GrammarPolicy
from antiphon_server.errors import Overloaded, Unavailable

_START_S = 30.0
_MESSAGE_BYTES = 4_096
_RETRY_S = 5.0
_TOO_COMPLEX = Verdict(flaw="too_complex")

_log = logging.getLogger("antiphon.grammar")


class CostProcess:
    """One per server. `folder`: the checkpoint's."""

    def __init__(self, folder: Path, policy: GrammarPolicy) -> None:
        self._folder = folder
        self._policy = policy
        self._limits = CompileLimits(policy.compile_s, policy.memory_bytes)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    async def start(self) -> None:
        """Raises Unavailable if the process does not start."""
        async with self._starting:
            if self._control is None:
                await self._spawn()

    async def close(self) -> None:
        """Ends the process. Its forks end when the sockets of their callers close."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    async def measure(self, schema: str) -> Verdict:
        """The cost of a schema. Overloaded if there is no result in time, Unavailable without a process."""
        for _ in range(2):
            await self.start()
            used = self._process
            verdict = await self._request(schema)
            if verdict is not None:
                return verdict
            await self._clean_up(used)
        raise _unavailable()

    async def _clean_up(self, dead: subprocess.Popen[bytes] | None) -> None:
        """Cleans up once per dead process: another request may have started the next one already."""
        async with self._starting:
            if dead is not None and self._process is dead:
                _log.warning("the grammar compiler's process has died; it is started again")
                await self.close()

    async def _request(self, schema: str) -> Verdict | None:
        """None if the process has died."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                if not self._send(schema, theirs):
                    return None
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self._policy.wait_s):
                    if not await loop.sock_recv(ours, _MESSAGE_BYTES):
                        return None
                    reply = await loop.sock_recv(ours, _MESSAGE_BYTES)
            except TimeoutError:
                message = "the JSON schema could not be compiled in time; the server is busy"
                raise Overloaded(message, code="schema_queue_full", retry_after_s=_RETRY_S) from None
            return decode_verdict(reply) if reply else _TOO_COMPLEX

    def _send(self, schema: str, reply: socket.socket) -> bool:
        if self._control is None:
            return False
        file = os.memfd_create("schema", os.MFD_CLOEXEC)
        try:
            os.write(file, schema.encode())
            socket.send_fds(self._control, [b"job"], [file, reply.fileno()])
        except OSError:
            return False
        finally:
            os.close(file)
        return True

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            self._process = self._launch(theirs.fileno())
            theirs.close()
            ours.setblocking(False)
            try:
                async with asyncio.timeout(_START_S):
                    ready = await asyncio.get_running_loop().sock_recv(ours, _MESSAGE_BYTES)
            except (TimeoutError, OSError):
                ready = b""
            if not ready:
                await self.close()
                raise _unavailable()
            undo.pop_all()
        self._control = ours

    def _launch(self, control: int) -> subprocess.Popen[bytes]:
        module = ("-I", "-m", "antiphon_executor.stages.grammar_worker")
        arguments = (str(control), str(tokenizer_file(self._folder)), json.dumps(asdict(self._limits)))
        return subprocess.Popen(
            (sys.executable, *module, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={"LC_ALL": "C.UTF-8"}, start_new_session=True, pass_fds=(control,),
        )  # fmt: skip


def _unavailable() -> Unavailable:
    message = "JSON schemas cannot be compiled: the compiler of this server is not running"
    return Unavailable(message, code="schema_compiler_unavailable", retry_after_s=_RETRY_S)
