"""A process that prices JSON schemas: it compiles each in a fork of itself, as vLLM will compile it later.

In: a tokenizer.json; over a socket, one job after the other: a schema's file and the socket for the verdict.
Out: per job one `Verdict` as JSON, or a closed socket if the fork passed a limit. No torch, no vLLM.
A fork ends at its limit of processor time or memory, and as soon as the other end of its socket closes.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from antiphon_executor.interface.grammar_verdict import CompileLimits, Flaw, Verdict, encode_verdict
from antiphon_executor.stages.grammar import as_compiled

_DESCRIPTORS = 2
_MESSAGE_BYTES = 64
# Less than the 8 MiB of vLLM's threads: what would overflow their stack has overflowed this one before.
_STACK_BYTES = 2 << 20
# vLLM's own defaults of `LLMatcher.grammar_from_json_schema`.
_DEFAULTS: Any = {"whitespace_flexible": True}
_WALK_TOKENS = 16
_FLAWS: tuple[tuple[str, Flaw], ...] = (
    ("Unsatisfiable", "unsatisfiable"),
    ("NoExtension", "unsatisfiable"),
    ("Pointer", "reference"),
    ("Resource", "reference"),
    ("Unresolvable", "reference"),
    ("schema too large", "too_complex"),
    ("fuel", "too_complex"),
    ("Current row", "too_complex"),
    ("panic", "too_complex"),
    ("too complex", "too_complex"),
    ("Unable to determine", "too_complex"),
)


def main() -> int:
    """Arguments: control socket, path of tokenizer.json, and the limits as JSON."""
    control = socket.socket(fileno=int(sys.argv[1]))
    tokenizer = LLTokenizer(Path(sys.argv[2]).read_text(encoding="utf-8"))
    limits = CompileLimits(**json.loads(sys.argv[3]))
    # Forks are reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, _DESCRIPTORS)
        if not message:
            return 0
        if len(descriptors) == _DESCRIPTORS and os.fork() == 0:
            control.close()
            _work(tokenizer, limits, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _work(tokenizer: LLTokenizer, limits: CompileLimits, schema: int, reply: int) -> None:
    """The fork's whole life."""
    status = 1
    try:
        _limit(limits, reply)
        # The first message says that there is a fork: what ends the socket from here on is a limit.
        os.write(reply, b"forked")
        text = os.pread(schema, os.fstat(schema).st_size, 0).decode()
        os.write(reply, encode_verdict(price(tokenizer, text)))
        status = 0
    finally:
        os._exit(status)


def _limit(limits: CompileLimits, reply: int) -> None:
    """From here on every overrun ends the process, whatever it is doing, by a signal's default action."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    memory = pages * resource.getpagesize() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, _STACK_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_s)
    # SIGIO when the server closes its end: its client has left, or it has waited long enough.
    fcntl.fcntl(reply, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reply, fcntl.F_SETFL, fcntl.fcntl(reply, fcntl.F_GETFL) | os.O_ASYNC)


def price(tokenizer: LLTokenizer, schema: str) -> Verdict:
    """What vLLM will do with it: check it in the server's process, compile it in the engine's, fill masks."""
    started_at = time.thread_time()
    grammar = LLMatcher.grammar_from_json_schema(as_compiled(schema), defaults=_DEFAULTS)
    error = LLMatcher.validate_grammar(grammar, None)
    checked_at = time.thread_time()
    if error:
        return Verdict(flaw=_flaw_of(error), check_s=checked_at - started_at)
    matcher = LLMatcher(tokenizer, grammar, log_level=0)
    compiled_at = time.thread_time()
    step_s, is_stuck = _walk(matcher)
    flaw: Flaw | None = None
    if matcher.is_error():
        flaw = _flaw_of(matcher.get_error())
    elif is_stuck:
        flaw = "unsatisfiable"
    return Verdict(
        flaw=flaw, check_s=checked_at - started_at, compile_s=compiled_at - checked_at, step_s=step_s
    )


def _walk(matcher: LLMatcher) -> tuple[float, bool]:
    """The dearest mask along an answer of random tokens, and whether it came to a point with none allowed."""
    draw, dearest_s = random.Random(0), 0.0
    for _ in range(_WALK_TOKENS):
        if matcher.is_stopped():
            break
        started_at = time.thread_time()
        mask = matcher.compute_bitmask()
        dearest_s = max(dearest_s, time.thread_time() - started_at)
        allowed = list(_allowed(mask))
        if not allowed:
            return dearest_s, True
        matcher.consume_token(draw.choice(allowed))
    return dearest_s, False


def _allowed(mask: bytes) -> Iterator[int]:
    for number, byte in enumerate(mask):
        if byte:
            yield from (number * 8 + bit for bit in range(8) if byte >> bit & 1)


def _flaw_of(error: str) -> Flaw:
    return next((flaw for words, flaw in _FLAWS if words in error), "unsupported")


if __name__ == "__main__":
    sys.exit(main())
