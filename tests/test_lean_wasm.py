"""The trimmed module has the addresses, table and exports that emscripten's start would produce."""

from __future__ import annotations

import json
import subprocess

import pytest

from prover.errors import UserError
from prover.lean.embedded.install import node_path
from prover.lean.embedded.patch import front
from prover.lean.embedded.wasm import Reader, TrimError, signed, trim, unsigned


def section(number: int, *items: bytes) -> bytes:
    body = unsigned(len(items)) + b"".join(items)
    return bytes([number]) + unsigned(len(body)) + body


def name(text: str) -> bytes:
    return unsigned(len(text)) + text.encode()


def module(space: str = "GOT.func") -> bytes:
    """Imports `env.js`, its address, an address of nothing, memory; four functions, the first two in the table."""
    bodies = [b"\x00\x41" + signed(n) + b"\x0b" for n in (10, 11, 12, 13)]
    return b"".join(
        [
            b"\0asm\1\0\0\0",
            section(1, b"\x60\x00\x01\x7f"),
            section(
                2,
                name("env") + name("js") + b"\x00\x00",
                name(space) + name("js") + b"\x03\x7f\x01",
                name("env") + name("memory") + b"\x02\x03\x01\x02",
                name(space) + name("glNothing") + b"\x03\x7f\x01",
            ),
            section(3, *[b"\x00"] * 4),
            section(4, b"\x70\x00\x03"),
            section(6, b"\x7f\x01\x41" + signed(1000) + b"\x0b", b"\x7f\x00\x41" + signed(70000) + b"\x0b"),
            section(
                7,
                *(
                    name(n) + b"\x00" + unsigned(i)
                    for n, i in (("ten", 1), ("twelve", 3), ("thirteen", 4), ("again", 3))
                ),
                name("datum") + b"\x03\x03",
                name("table") + b"\x01\x00",
            ),
            section(9, b"\x00\x41\x01\x0b\x02\x01\x02"),
            section(10, *(unsigned(len(b)) + b for b in bodies)),
        ]
    )


def test_numbers() -> None:
    for n in (0, 1, 63, 64, 127, 128, 300, 70000, 2**31 - 1):
        assert Reader(unsigned(n)).unsigned() == n
        assert Reader(signed(n)).signed() == n
        assert Reader(signed(-n)).signed() == -n


def test_symbols_are_table_slots_and_addresses() -> None:
    _, symbols = trim(module(), set())
    assert symbols == b"again 3\ndatum 70000\nten 1\nthirteen 4\ntwelve 3\n"


def test_trimmed_module_runs() -> None:
    try:
        node = node_path()
    except UserError:
        pytest.skip("no Node here")
    trimmed, _ = trim(module(), {"table", "twelve"})
    script = """
      const memory = new WebAssembly.Memory({initial: 1, maximum: 2, shared: true});
      const bytes = Buffer.from(process.argv[1], "hex");
      const {exports} = new WebAssembly.Instance(new WebAssembly.Module(bytes), {env: {js: () => 99, memory}});
      const called = [1, 2, 3, 4, 5].map((i) => exports.table.get(i)());
      const globals = Object.keys(exports).filter((k) => k.startsWith("turnstile")).map((k) => [k, exports[k].value]);
      console.log(JSON.stringify([Object.keys(exports).length, exports.table.length, called, globals]));
    """
    out = subprocess.run([str(node), "-e", script, trimmed.hex()], capture_output=True, text=True, check=True).stdout
    # `js` has no export: its slot is the last. The imported addresses are constants now, the stack pointer keeps its index.
    assert json.loads(out) == [3, 6, [10, 11, 12, 13, 99], [["turnstile_global_2", 1000]]]


def test_another_module_is_refused() -> None:
    with pytest.raises(TrimError):
        trim(module(space="GOT.mem"), set())


def test_an_installation_finds_the_javascript_that_it_puts_in_front() -> None:
    assert "turnstileStart = " in front() and "function turnstileRestore()" in front()
