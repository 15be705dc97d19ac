"""The filter's program, run in an interpreter of classic BPF: every call, on both kinds of machine."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import struct

import pytest

from antiphon_server.media.sandbox.profiles import DECODING
from antiphon_server.media.sandbox.seccomp import assemble
from antiphon_server.media.sandbox.system_calls import MACHINES, Machine
from tests.server.media.test_confinement import ATTEMPTS

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
REFUSED = ERRNO | errno.EPERM
HIGHEST_CALL = 1023


def verdict(program: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    words = [argument & (1 << 64) - 1 for argument in (*arguments, *(0,) * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *words)
    steps = list(struct.iter_unpack("<HBBI", program))
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"step {at} has code {code}")


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Machine:
    return MACHINES[request.param]


def test_every_call_that_is_not_named_is_refused(machine: Machine) -> None:
    program = assemble(machine, DECODING)
    named = {machine.numbers[name] for name in DECODING.allowed}
    for number in set(range(HIGHEST_CALL + 1)) - named:
        assert verdict(program, machine.architecture, number) == REFUSED, number


def test_calls_without_conditions_pass(machine: Machine) -> None:
    program = assemble(machine, DECODING)
    for name, conditions in DECODING.allowed.items():
        if not conditions:
            assert verdict(program, machine.architecture, machine.numbers[name]) == ALLOW, name


def test_conditions_check_whole_arguments(machine: Machine) -> None:
    program = assemble(machine, DECODING)

    def asked(name: str, *arguments: int) -> int:
        return verdict(program, machine.architecture, machine.numbers[name], arguments)

    assert asked("mmap", 0, 4096, 3) == ALLOW
    assert asked("mmap", 0, 4096, 7) == REFUSED
    assert asked("mprotect", 0, 4096, 4) == REFUSED
    assert asked("prlimit64", 0, 9, 0, 1 << 40) == ALLOW
    assert asked("prlimit64", 1, 9, 0, 0) == REFUSED
    assert asked("prlimit64", 0, 9, 1, 0) == REFUSED
    assert asked("prlimit64", 0, 9, 1 << 32, 0) == REFUSED
    assert asked("sched_getaffinity", 0, 8, 1 << 40) == ALLOW
    assert asked("sched_getaffinity", 1, 8, 1 << 40) == REFUSED


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_filter_alone_refuses_forbidden_calls(name: str) -> None:
    """In a whole decoder another layer may return EPERM first, if its user or network differs."""
    number, arguments, _ = ATTEMPTS[name]
    words = tuple(1 if word == "parent" else int(word) for word in arguments)
    machine = MACHINES["x86_64"]
    assert verdict(assemble(machine, DECODING), machine.architecture, number, words) == REFUSED


def test_another_architecture_is_killed(machine: Machine) -> None:
    program = assemble(machine, DECODING)
    for architecture in (0x40000003, 0xC000003E, 0xC00000B7, 0x40000028):
        if architecture != machine.architecture:
            assert verdict(program, architecture, machine.numbers["read"]) == KILL
    assert verdict(program, machine.architecture, 0x40000000 | machine.numbers["read"]) == KILL


def test_the_numbers_are_those_of_libseccomp(machine: Machine) -> None:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(name).seccomp_syscall_resolve_name_arch
    resolve.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    for call, number in machine.numbers.items():
        assert resolve(machine.architecture, call.encode()) == number, call
