// Start from a snapshot. This stands in front of the patched lean.js and shares its scope; patch.py adds the calls.
//
// The server's start is Lean's own, then half a minute of elaborating the server's source. Its result is the linear memory
// and a dozen mutable globals. With TURNSTILE_SAVE they are written to that folder at the moment when the server asks for the
// path /snapshot/ADDRESS, where ADDRESS is the closure of its serving loop. With TURNSTILE_RESTORE they are put in place of
// Lean's start, and the closure is called. Table and static addresses are the same in every process: see wasm.py.

const TURNSTILE_PAGE = 65536;
const turnstileMain = require("worker_threads").isMainThread;
const turnstileState =
  turnstileMain && process.env.TURNSTILE_RESTORE
    ? JSON.parse(require("fs").readFileSync(process.env.TURNSTILE_RESTORE + "/state.json", "utf8"))
    : null;

// What the sealed process sees of the disk.
function turnstileMount() {
  for (const [at, root] of [["/lib", process.env.TURNSTILE_LEAN_LIB], ["/srv", process.env.TURNSTILE_LEAN_SERVER]]) {
    try { FS.mkdir(at); } catch (e) {} // there already
    FS.mount(NODEFS, { root }, at);
  }
  ENV["LEAN_PATH"] = "/lib";
  FS.chdir("/srv");
}

// Where the symbol is: a binary search in the sorted lines `NAME ADDRESS`. Null if the module has none of that name.
let turnstileSymbols;
function turnstileAddress(name) {
  const text = (turnstileSymbols ??= fs.readFileSync(__dirname + "/symbols"));
  const key = Buffer.from(name + " ");
  let low = 0, high = text.length; // each at the start of a line, or at the end
  while (low < high) {
    const middle = (low + high) >> 1;
    const line = middle === 0 ? 0 : text.lastIndexOf(10, middle - 1) + 1; // the line with `middle` in it: not before `low`
    const end = text.indexOf(10, line);
    const order = text.compare(key, 0, key.length, line, Math.min(line + key.length, end));
    if (order === 0) return Number(text.toString("latin1", line + key.length, end));
    if (order < 0) low = end + 1; else high = line;
  }
  return null;
}

function turnstileGlobals() {
  return Object.keys(wasmExports).filter((name) => name.startsWith("turnstile_global_"));
}

// A stat of /snapshot/ADDRESS, when a snapshot is wanted: write it and end.
function turnstileAsked(path) {
  const folder = process.env.TURNSTILE_SAVE;
  if (!folder || !path.startsWith("/snapshot/")) return;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000); // let Lean's threads come to rest
  const words = new BigUint64Array(wasmMemory.buffer);
  const pages = wasmMemory.buffer.byteLength / TURNSTILE_PAGE;
  const perPage = TURNSTILE_PAGE / 8;
  const used = (page) => {
    for (let i = page * perPage; i < (page + 1) * perPage; i++) if (words[i] !== 0n) return true;
    return false;
  };
  const runs = []; // [first page, pages]: all others are zero
  for (let page = 0; page < pages; page++) {
    if (!used(page)) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === page) last[1]++; else runs.push([page, 1]);
  }
  turnstileCopy(folder + "/memory", "w", runs, fs.writeSync);
  const globals = Object.fromEntries(turnstileGlobals().map((name) => [name, wasmExports[name].value]));
  const bytes = runs.reduce((sum, [, count]) => sum + count * TURNSTILE_PAGE, 0);
  const closure = Number(path.slice("/snapshot/".length));
  fs.writeFileSync(folder + "/state.json", JSON.stringify({ closure, pages, bytes, globals, runs }));
  process.exit(0);
}

// A stat of /watch/STEP/LIMIT/LATE, addresses of references (Step.lean's Clock): from now on a thread looks at the step that Lean
// works on, and sets LATE when it has been the same for longer than the limit (watch.js). A reference's value stands behind the
// 8 bytes of an object's header.
let turnstileWatching = false;
function turnstileWatch(path) {
  if (turnstileWatching || !path.startsWith("/watch/")) return;
  turnstileWatching = true; // the server asks first, before it reads anybody's text
  const [step, limit, late] = path.split("/").slice(2).map((address) => Number(address) / 4 + 2);
  turnstileStart("watch", { memory: wasmMemory.buffer, step, limit, late });
}

// Write the runs of memory to the file, one behind the other, or read them from it.
function turnstileCopy(path, mode, runs, copy) {
  const memory = new Uint8Array(wasmMemory.buffer);
  const file = fs.openSync(path, mode);
  for (const [first, count] of runs) {
    const end = (first + count) * TURNSTILE_PAGE;
    for (let at = first * TURNSTILE_PAGE; at < end; ) {
      const n = copy(file, memory, at, Math.min(end - at, 2 ** 28), null);
      if (n <= 0) throw new Error("the snapshot ends early");
      at += n;
    }
  }
  fs.closeSync(file);
}

// In place of the static constructors and all that Lean did since.
function turnstileRestore() {
  turnstileCopy(process.env.TURNSTILE_RESTORE + "/memory", "r", turnstileState.runs, fs.readSync);
  for (const name of turnstileGlobals()) wasmExports[name].value = turnstileState.globals[name];
}

// In place of main. The stack pointer is one of the globals, so what is below the snapshot's frames stays untouched. The
// threads of Lean's task manager did not survive: a new manager starts threads when the first task needs one.
function turnstileServe() {
  turnstileMount();
  try {
    wasmExports["lean_init_task_manager_using"](2);
    wasmExports["lean_apply_1"](turnstileState.closure, 1);
    process.exit(0);
  } catch (e) {
    if (typeof e !== "number") return handleException(e);
    fs.writeSync(2, turnstileThrown(e) + "\n"); // C++'s, by address
    process.exit(1);
  }
}

// What C++ threw, for the last words of a process that dies of it.
function turnstileThrown(address) {
  const type = new ExceptionInfo(address).get_type();
  if (type === turnstileAddress("_ZTISt9bad_alloc") || type === turnstileAddress("_ZTIN4lean16memory_exceptionE"))
    return "out of memory";
  const symbols = turnstileSymbols.toString("latin1");
  const end = symbols.indexOf(" " + type + "\n");
  return "uncaught exception of type " + symbols.slice(symbols.lastIndexOf("\n", end) + 1, end);
}

