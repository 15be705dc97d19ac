"""A process that measures the cost of JSON schemas: it compiles each in a fork, as vLLM will later.

A job is a schema's file and a socket, which gets a `Verdict`, or is closed if the fork reached a limit. A
fork ends at its CPU or memory limit, or when the other end of its socket closes. Imports no torch, no vLLM.
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
from antiphon_executor.stages.grammar import guidance_schema

_DESCRIPTORS = 2
_MESSAGE_BYTES = 64
# Less than the 8 MiB of vLLM's threads, so a schema that would overflow their stack overflows this one first.
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
    # The kernel reaps the forks.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, _DESCRIPTORS)
        if not message:
            return 0
        if len(descriptors) == _DESCRIPTORS and os.fork() == 0:
            control.close()
            _measure_in_fork(tokenizer, limits, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _measure_in_fork(tokenizer: LLTokenizer, limits: CompileLimits, schema: int, reply: int) -> None:
    """All that the fork does."""
    status = 1
    try:
        _apply_limits(limits, reply)
        # After this message, a closed socket means that the fork reached a limit.
        os.write(reply, b"forked")
        text = os.pread(schema, os.fstat(schema).st_size, 0).decode()
        os.write(reply, encode_verdict(measure_schema(tokenizer, text)))
        status = 0
    finally:
        os._exit(status)


def _apply_limits(limits: CompileLimits, reply: int) -> None:
    """Sets the limits. Exceeding one ends the process by a signal's default action."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    memory = pages * resource.getpagesize() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, _STACK_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_s)
    # SIGIO arrives when the server closes its end: the client has left, or a time limit has passed.
    fcntl.fcntl(reply, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reply, fcntl.F_SETFL, fcntl.fcntl(reply, fcntl.F_GETFL) | os.O_ASYNC)


def measure_schema(tokenizer: LLTokenizer, schema: str) -> Verdict:
    """Does what vLLM will do: validates the schema, compiles it, and computes token masks."""
    started_at = time.thread_time()
    grammar = LLMatcher.grammar_from_json_schema(guidance_schema(schema), defaults=_DEFAULTS)
    error = LLMatcher.validate_grammar(grammar, None)
    checked_at = time.thread_time()
    if error:
        return Verdict(flaw=_flaw_of(error), check_s=checked_at - started_at)
    matcher = LLMatcher(tokenizer, grammar, log_level=0)
    compiled_at = time.thread_time()
    step_s, is_stuck = _sample_answer(matcher)
    flaw: Flaw | None = None
    if matcher.is_error():
        flaw = _flaw_of(matcher.get_error())
    elif is_stuck:
        flaw = "unsatisfiable"
    return Verdict(
        flaw=flaw, check_s=checked_at - started_at, compile_s=compiled_at - checked_at, step_s=step_s
    )


def _sample_answer(matcher: LLMatcher) -> tuple[float, bool]:
    """Seconds of the most expensive mask in an answer of random tokens, and whether no token was allowed."""
    generator, slowest_s = random.Random(0), 0.0
    for _ in range(_WALK_TOKENS):
        if matcher.is_stopped():
            break
        started_at = time.thread_time()
        mask = matcher.compute_bitmask()
        slowest_s = max(slowest_s, time.thread_time() - started_at)
        allowed = list(_allowed(mask))
        if not allowed:
            return slowest_s, True
        matcher.consume_token(generator.choice(allowed))
    return slowest_s, False


def _allowed(mask: bytes) -> Iterator[int]:
    for number, byte in enumerate(mask):
        if byte:
            yield from (number * 8 + bit for bit in range(8) if byte >> bit & 1)


def _flaw_of(error: str) -> Flaw:
    return next((flaw for words, flaw in _FLAWS if words in error), "unsupported")


if __name__ == "__main__":
    sys.exit(main())
