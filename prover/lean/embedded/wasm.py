"""Reduce the exports of the published `lean.wasm` from 201,110 to about 170, so that it starts quickly.

At the start, Node creates an object for every export, and emscripten puts every exported function into the function table
and reads every entry of it: 6 of 7 CPU seconds and 1.3 GB before Lean's own start. `trim` does this work once. It writes the
whole table, fills in the addresses that the module imports, and returns the symbols and addresses that Lean's interpreter
needs to look up functions. Code and data do not change.
"""

from __future__ import annotations

_TYPE_FUNC, _MEMORY, _GLOBAL = 0, 2, 3
_IMPORTS, _TABLES, _GLOBALS, _EXPORTS, _ELEMENTS = 2, 4, 6, 7, 9
_I32_MUTABLE, _CONST, _END = b"\x7f\x01", 0x41, 0x0B


class TrimError(RuntimeError):
    """The module differs from the one that this code supports."""


def _expect(condition: bool, part: str) -> None:
    if not condition:
        raise TrimError(f"lean.wasm: {part} is not as expected")


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
    """Reads WebAssembly's binary encoding from `at` on."""

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
        """The value of an initialiser, which must be one `i32.const`."""
        _expect(self.byte() == _CONST, "an initialiser")
        value = self.signed()
        _expect(self.byte() == _END, "an initialiser")
        return value


class _Imports:
    """The import section: `kept` imports, the numbers of imported `functions`, and imported function `addresses`."""

    def __init__(self, body: bytes) -> None:
        self.kept: list[bytes] = []
        self.functions: dict[bytes, int] = {}
        self.addresses: list[bytes] = []
        reader = Reader(body)
        for _ in range(reader.unsigned()):
            start = reader.at
            space, name, kind = reader.name(), reader.name(), reader.byte()
            if kind == _GLOBAL:
                _expect(space == b"GOT.func" and reader.take(2) == _I32_MUTABLE, "an imported global")
                self.addresses.append(name)
                continue
            if kind == _TYPE_FUNC:
                self.functions[name] = len(self.functions)
                reader.unsigned()
            else:
                _expect(kind == _MEMORY and reader.byte() == 3, "an import")
                reader.unsigned()
                reader.unsigned()
            self.kept.append(body[start : reader.at])


class _Globals:
    """The global section: initial `values`, which ones are `mutable`, and the encoded entries."""

    def __init__(self, body: bytes) -> None:
        self.values: list[int] = []
        self.mutable: list[int] = []
        reader = Reader(body)
        count = reader.unsigned()
        self.entries = body[reader.at :]
        for i in range(count):
            reader.byte()
            if reader.byte():
                self.mutable.append(i)
            self.values.append(reader.constant())


class _Table:
    """The function table. One segment fills it; functions outside it are added at its end."""

    def __init__(self, table: bytes, segment: bytes) -> None:
        reader = Reader(table)
        _expect(reader.take(3) == b"\x01\x70\x00", "the function table")
        self.size = reader.unsigned()
        self.segment = segment
        self.added: list[int] = []
        reader = Reader(segment)
        _expect(reader.take(2) == b"\x01\x00", "the table's content")
        first = reader.constant()
        count = reader.unsigned()
        _expect(first + count == self.size, "the table's size")
        self._addresses: dict[int, int] = {}
        for i in range(count):
            self._addresses.setdefault(reader.unsigned(), first + i)

    def address(self, function: int) -> int:
        """The function's index in the table."""
        if function not in self._addresses:
            self._addresses[function] = self.size + len(self.added)
            self.added.append(function)
        return self._addresses[function]

    def sections(self) -> tuple[bytes, bytes]:
        """The table section and the element section with the added functions."""
        elements = [b"\x02", self.segment[1:], b"\x00", bytes([_CONST]), signed(self.size), bytes([_END])]
        elements += [unsigned(len(self.added)), *map(unsigned, self.added)]
        return b"\x01\x70\x00" + unsigned(self.size + len(self.added)), b"".join(elements)


def trim(module: bytes, keep: set[str]) -> tuple[bytes, bytes]:
    """The module with only the exports in `keep`, and its symbols as sorted lines `NAME ADDRESS`.

    The mutable globals, which belong to a snapshot, are exported as `turnstile_global_N`.
    """
    sections: list[tuple[int, bytes]] = []
    reader = Reader(module, 8)
    while reader.at < len(module):
        sections.append((reader.byte(), reader.name()))
    content = {number: body for number, body in sections if number}
    imports = _Imports(content[_IMPORTS])
    module_globals = _Globals(content[_GLOBALS])
    table = _Table(content[_TABLES], content[_ELEMENTS])
    # Imported globals come before the module's own, so `addresses` can become its own first globals with the same indices.
    imported = len(imports.addresses)

    reader = Reader(content[_EXPORTS])
    exports: list[bytes] = []
    symbols: list[bytes] = []
    for _ in range(reader.unsigned()):
        start = reader.at
        name, kind, index = reader.name(), reader.byte(), reader.unsigned()
        if kind == _TYPE_FUNC:
            symbols.append(b"%s %d\n" % (name, table.address(index)))
        elif kind == _GLOBAL:
            symbols.append(b"%s %d\n" % (name, module_globals.values[index - imported]))
        if name.decode() in keep:
            exports.append(content[_EXPORTS][start : reader.at])
    for index in module_globals.mutable:
        name = b"turnstile_global_%d" % (imported + index)
        exports.append(unsigned(len(name)) + name + bytes([_GLOBAL]) + unsigned(imported + index))

    # The browser's graphics and sound functions stay at address 0: nothing calls them.
    addresses = [
        table.address(imports.functions[name]) if name in imports.functions else 0 for name in imports.addresses
    ]
    content[_IMPORTS] = unsigned(len(imports.kept)) + b"".join(imports.kept)
    content[_GLOBALS] = (
        unsigned(imported + len(module_globals.values))
        + b"".join(_I32_MUTABLE + bytes([_CONST]) + signed(address) + bytes([_END]) for address in addresses)
        + module_globals.entries
    )
    content[_TABLES], content[_ELEMENTS] = table.sections()
    content[_EXPORTS] = unsigned(len(exports)) + b"".join(exports)
    out = [module[:8]]
    for number, original in sections:
        body = content[number] if number else original
        out += [bytes([number]), unsigned(len(body)), body]
    return b"".join(out), b"".join(sorted(symbols))
