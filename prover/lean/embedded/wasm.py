"""Make the published `lean.wasm` cheap to start: an export list of some 170 names in place of 201,110.

Node makes an object for every export, and emscripten's start puts every exported function into the function table and asks
for the table's every entry: 6 of 7 processor seconds and 1.3 GB before Lean's own start. `trim` does that work once: it
writes the table out in full, fills in the addresses that the module imports, and gives the list of symbols and addresses
that Lean's interpreter looks functions up in. Code and data stay as they are.
"""

from __future__ import annotations

_TYPE_FUNC, _MEMORY, _GLOBAL = 0, 2, 3
_IMPORTS, _TABLES, _GLOBALS, _EXPORTS, _ELEMENTS = 2, 4, 6, 7, 9
_I32_MUTABLE, _CONST, _END = b"\x7f\x01", 0x41, 0x0B


class TrimError(RuntimeError):
    """The module is not built as the one that this was written for."""


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise TrimError(f"lean.wasm: {what} is not as expected")


def unsigned(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def signed(n: int) -> bytes:
    out = bytearray()
    while not -64 <= n < 64:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n & 127)
    return bytes(out)


class Reader:
    """WebAssembly's binary encoding, from `at`."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def take(self, n: int) -> bytes:
        self.at += n
        return self.data[self.at - n : self.at]

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                return value

    def signed(self) -> int:
        start = self.at
        value = self.unsigned()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def name(self) -> bytes:
        return self.take(self.unsigned())

    def constant(self) -> int:
        """The value of an initialiser that is one `i32.const`."""
        _expect(self.byte() == _CONST, "an initialiser")
        value = self.signed()
        _expect(self.byte() == _END, "an initialiser")
        return value


def trim(module: bytes, keep: set[str]) -> tuple[bytes, bytes]:
    """The module with only the exports in `keep`, and its symbols: sorted lines `NAME ADDRESS`.

    Its mutable globals are exported too, as `turnstile_global_N`: they are part of a snapshot.
    """
    sections: list[list] = []
    reader = Reader(module, 8)
    while reader.at < len(module):
        sections.append([reader.byte(), reader.name()])
    content = {number: body for number, body in sections if number}

    # Imports: functions and memory stay. The imported globals, all of them function addresses, become globals of its own
    # with the same indices, since imported globals come first.
    reader = Reader(content[_IMPORTS])
    imports: list[bytes] = []
    functions: dict[bytes, int] = {}
    addresses: list[bytes] = []
    for _ in range(reader.unsigned()):
        start = reader.at
        space, name, kind = reader.name(), reader.name(), reader.byte()
        if kind == _GLOBAL:
            _expect(space == b"GOT.func" and reader.take(2) == _I32_MUTABLE, "an imported global")
            addresses.append(name)
            continue
        if kind == _TYPE_FUNC:
            functions[name] = len(functions)
            reader.unsigned()
        else:
            _expect(kind == _MEMORY and reader.byte() == 3, "an import")
            reader.unsigned(), reader.unsigned()
        imports.append(content[_IMPORTS][start : reader.at])

    reader = Reader(content[_GLOBALS])
    values: list[int] = []
    mutable: list[int] = []
    count = reader.unsigned()
    globals_body = content[_GLOBALS][reader.at :]
    for i in range(count):
        reader.byte()
        if reader.byte():
            mutable.append(len(addresses) + i)
        values.append(reader.constant())

    # The function table: one segment that fills it; what is exported beyond that goes behind it.
    reader = Reader(content[_TABLES])
    _expect(reader.take(3) == b"\x01\x70\x00", "the function table")
    size = reader.unsigned()
    reader = Reader(content[_ELEMENTS])
    _expect(reader.take(2) == b"\x01\x00", "the table's content")
    first = reader.constant()
    slots: dict[int, int] = {}
    count = reader.unsigned()
    _expect(first + count == size, "the table's size")
    for i in range(count):
        slots.setdefault(reader.unsigned(), first + i)
    added: list[int] = []

    def slot(function: int) -> int:
        if function not in slots:
            slots[function] = size + len(added)
            added.append(function)
        return slots[function]

    reader = Reader(content[_EXPORTS])
    exports: list[bytes] = []
    symbols: list[bytes] = []
    for _ in range(reader.unsigned()):
        start = reader.at
        name, kind, index = reader.name(), reader.byte(), reader.unsigned()
        if kind == _TYPE_FUNC:
            symbols.append(b"%s %d\n" % (name, slot(index)))
        elif kind == _GLOBAL:
            symbols.append(b"%s %d\n" % (name, values[index - len(addresses)]))
        if name.decode() in keep:
            exports.append(content[_EXPORTS][start : reader.at])
    for index in mutable:
        name = b"turnstile_global_%d" % index
        exports.append(unsigned(len(name)) + name + bytes([_GLOBAL]) + unsigned(index))

    # Graphics and sound of the browser are left at address 0: nothing calls them.
    filled = [slot(functions[name]) if name in functions else 0 for name in addresses]
    content[_IMPORTS] = unsigned(len(imports)) + b"".join(imports)
    content[_GLOBALS] = (
        unsigned(len(filled) + len(values))
        + b"".join(_I32_MUTABLE + bytes([_CONST]) + signed(value) + bytes([_END]) for value in filled)
        + globals_body
    )
    content[_TABLES] = b"\x01\x70\x00" + unsigned(size + len(added))
    content[_EXPORTS] = unsigned(len(exports)) + b"".join(exports)
    content[_ELEMENTS] = b"".join(
        [b"\x02", content[_ELEMENTS][1:], b"\x00", bytes([_CONST]), signed(size), bytes([_END]), unsigned(len(added))]
        + [unsigned(function) for function in added]
    )
    out = [module[:8]]
    for number, body in sections:
        body = content[number] if number else body
        out += [bytes([number]), unsigned(len(body)), body]
    return b"".join(out), b"".join(sorted(symbols))
