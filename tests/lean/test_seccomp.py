"""The seccomp filter's code, read by an interpreter of the few instructions that it has: on both machines, whichever this one is."""

from __future__ import annotations

import errno
import struct

import pytest

from prover.lean.sandbox import seccomp

ALLOW = seccomp._ALLOW
EPERM, ENOSYS = seccomp._ERRNO | errno.EPERM, seccomp._ERRNO | errno.ENOSYS
OWN = 4711


def decision(code: bytes, architecture: int, number: int, first: int = 0) -> int:
    """What the kernel would do with a call."""
    program = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    data = struct.pack("=IIQ6Q", number, architecture, 0, first, 0, 0, 0, 0, 0)
    word, at = 0, 0
    while True:
        operation, then, otherwise, k = program[at]
        at += 1
        if operation == seccomp._LOAD:
            (word,) = struct.unpack_from("=I", data, k)
        elif operation == seccomp._RETURN:
            return k
        else:
            holds = {seccomp._EQUAL: word == k, seccomp._AT_LEAST: word >= k, seccomp._ANY_BIT: bool(word & k)}[
                operation
            ]
            at += then if holds else otherwise


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_is_allowed(machine, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: machine)
    column, architecture = seccomp._MACHINES[machine]
    code = seccomp.Filter().code(OWN)

    def call(name: str, first: int = 0) -> int:
        number = seccomp._CALLS[name][column]
        assert number is not None
        return decision(code, architecture, number, first)

    thread = 0x3D0F00  # as libc makes one
    assert call("clone", thread) == ALLOW and call("clone", 17) == EPERM and call("clone3") == ENOSYS
    for name in ("kill", "tgkill", "prlimit64"):
        assert call(name, OWN) == ALLOW and call(name, OWN + 1) == EPERM and call(name, 2**32 - OWN) == EPERM
    assert call("prlimit64", 0) == ALLOW and call("kill", 0) == EPERM  # 0: itself, and its group
    assert call("socketpair", 1) == ALLOW and call("socketpair", 2) == EPERM
    assert call("socket", 1) == call("socket", 2) == call("ptrace") == call("mount") == EPERM
    reads = {"x86_64": 0, "aarch64": 63}[machine]
    assert decision(code, architecture, reads) == ALLOW
    assert decision(code, 0x40000003, reads) == ENOSYS  # 32-bit x86, whose numbers are others
    if machine == "x86_64":
        assert decision(code, architecture, reads | 0x40000000) == ENOSYS
