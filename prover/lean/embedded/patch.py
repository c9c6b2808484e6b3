"""Text transforms that make the published `lean.js` usable as a long-lived, line-by-line server.

A comment on each patch names the fault that it fixes. `patch_lean_js` refuses a file that does not contain every pattern exactly
once, so another build of the package is never patched in part.
"""

from __future__ import annotations

import re
from pathlib import Path

PATCH_VERSION = 7  # part of the cache folder's name: raise it with any change below


class PatchError(RuntimeError):
    """The downloaded JavaScript is not the build that these patches are for."""


# Standard input: `process.stdin.fd` makes the pipe non-blocking, so that a read before data arrives fails with EIO. The caller
# also reads until its own buffer is full, so that a line would only arrive when the pipe closes. This version reads descriptor
# 0 synchronously, and only if the call has no character yet. It never returns zero bytes while the pipe is open, because C
# takes that for the end of the file.
_STDIN_OLD = (
    "var FS_stdin_getChar=()=>{if(!FS_stdin_getChar_buffer.length){var result=null;if(ENVIRONMENT_IS_NODE){"
    "var BUFSIZE=256;var buf=Buffer.alloc(BUFSIZE);var bytesRead=0;var fd=process.stdin.fd;"
    'try{bytesRead=fs.readSync(fd,buf,0,BUFSIZE)}catch(e){if(e.toString().includes("EOF"))bytesRead=0;else throw e}'
    'if(bytesRead>0){result=buf.slice(0,bytesRead).toString("utf-8")}}'
)
_STDIN_NEW = (
    "var FS_stdin_pos=0,FS_stdin_some=false,FS_stdin_bytes=Buffer.alloc(65536);"
    "var FS_stdin_getChar=()=>{if(ENVIRONMENT_IS_NODE){"
    "if(FS_stdin_pos<FS_stdin_getChar_buffer.length){return FS_stdin_getChar_buffer[FS_stdin_pos++]}"
    "if(FS_stdin_some){return null}"
    "var n=-1;while(n<0){try{n=fs.readSync(0,FS_stdin_bytes,0,65536)}"
    'catch(e){if(e.code==="EOF"){n=0}else if(e.code!=="EINTR"){throw e}}}'
    "if(n<=0){return null}"
    "FS_stdin_getChar_buffer=FS_stdin_bytes.subarray(0,n);FS_stdin_pos=1;"
    "return FS_stdin_getChar_buffer[0]}"
    "if(!FS_stdin_getChar_buffer.length){var result=null;if(false){}"
)

_REPLACEMENTS = [
    # Each symbol lookup searched 201,110 exports: two minutes for a trivial file. Symbols now have their own sorted list
    # (wasm.py), and the function table is complete from the start.
    (
        "symbol=UTF8ToString(symbol);var result;var newSymIndex;",
        "symbol=UTF8ToString(symbol);var known=turnstileAddress(symbol);if(known!==null)return known;"
        "var result;var newSymIndex;",
    ),
    ("updateGOT(origExports);", ""),
    ("updateGOT(relocateExports(tlsExports,__tls_base),true)", ""),
    # The snapshot (snapshot.js): where it is saved, and the start that it replaces.
    (
        "path=SYSCALLS.getStr(path);return SYSCALLS.writeStat(buf,FS.stat(path))",
        "path=SYSCALLS.getStr(path);turnstileAsked(path);turnstileWatch(path);return SYSCALLS.writeStat(buf,FS.stat(path))",
    ),
    ('Module["INITIAL_MEMORY"]||16777216;', "turnstileState?turnstileState.pages*TURNSTILE_PAGE:16777216;"),
    (
        'wasmExports["__wasm_call_ctors"]();call',
        'turnstileState?turnstileRestore():wasmExports["__wasm_call_ctors"]();call',
    ),
    ("if(!noInitialRun)callMain(args)", "if(turnstileState)turnstileServe();else if(!noInitialRun)callMain(args)"),
    (_STDIN_OLD, _STDIN_NEW),
    (
        "var result;try{result=stream.tty.ops.get_char(stream.tty)}",
        "var result;FS_stdin_some=bytesRead>0;try{result=stream.tty.ops.get_char(stream.tty)}",
    ),
    # A write to a pipe may be partial.
    (
        'defaultPrint=(...args)=>fs.writeSync(1,args.map(stringify).join(" ")+"\\n");',
        'defaultPrint=(...args)=>{var b=Buffer.from(args.map(stringify).join(" ")+"\\n"),o=0;while(o<b.length){'
        'try{o+=fs.writeSync(1,b,o)}catch(e){if(e.code!=="EAGAIN"&&e.code!=="EINTR")throw e}}};',
    ),
    # `IO.Process.exit` on a thread asks the main thread to exit, which waits for that thread: the process would hang until its
    # limit. The server itself never exits this way, only Lean code that it elaborates does.
    (
        "var exitJS=(status,implicit)=>{EXITSTATUS=status;",
        'var exitJS=(status,implicit)=>{if(turnstileState)process.kill(process.pid,"SIGKILL");EXITSTATUS=status;',
    ),
    # A C++ call that may throw looks its function up in this list. Lean's interpreter makes several such calls for each of its own. V8
    # stores a list with gaps as a hash table.
    (
        "if(!func){wasmTableMirror[funcPtr]=",
        "if(!func){while(wasmTableMirror.length<funcPtr)wasmTableMirror.push(null);wasmTableMirror[funcPtr]=",
    ),
    # Every pooled thread is a worker that loads the module again. One is enough: more start on demand.
    ("var pthreadPoolSize=4;", "var pthreadPoolSize=turnstileState?0:1;"),
    # The seal: Lean sees its library and the server's folder, not the user's files.
    (
        'FS.mount(NODEFS,{root:"/home"},"/home");FS.mount(NODEFS,{root:"/tmp"},"/tmp");var cwd=process.cwd();'
        'if(cwd.startsWith("/private/tmp/")){cwd=cwd.replace("/private/tmp/","/tmp/")}'
        'else if(cwd==="/private/tmp"){cwd="/tmp"}FS.chdir(cwd)',
        "turnstileMount()",
    ),
    # Emscripten's default stack in linear memory has 64 KiB without a guard: deep recursion overwrote static data. Lean's own
    # check ("deep recursion") assumes 8 MiB or more.
    (
        "args.unshift(thisProgram);var argc=args.length;",
        "var stackBytes=128*1048576,stackLow=_malloc(stackBytes);"
        "_emscripten_stack_set_limits(stackLow+stackBytes,stackLow);stackRestore(stackLow+stackBytes);"
        "args.unshift(thisProgram);var argc=args.length;",
    ),
    # Node's permission model refuses this deprecated call.
    ('process.binding("constants")', "{fs:fs.constants}"),
    # Lean looks for its library beside the program: this path exists inside the seal.
    ("if(isNode){path=__filename}", 'if(isNode){path="/srv/lean"}'),
]


SEALED = [
    # No text becomes code. The loader evaluates JavaScript in the data of side modules, `run_script` and `load_script` evaluate
    # their arguments.
    (
        "var dlopenInternal=(handle,jsflags)=>{",
        'var dlopenInternal=(handle,jsflags)=>{dlSetError("dynamic loading is switched off by the seal");return 0;',
    ),
    (
        "function loadDynamicLibrary(libName,flags={global:true,nodelete:true},localScope,handle){",
        "function loadDynamicLibrary(libName,flags={global:true,nodelete:true},localScope,handle){turnstileRefuse();",
    ),
    (
        "var loadWebAssemblyModule=(binary,flags,libName,localScope,handle)=>{",
        "var loadWebAssemblyModule=(binary,flags,libName,localScope,handle)=>{turnstileRefuse();",
    ),
    ("ASM_CONSTS[start]=eval(func)", "ASM_CONSTS[start]=turnstileRefuse()"),
    ("moduleExports[name]=eval(func)", "moduleExports[name]=turnstileRefuse()"),
    ("_emscripten_run_script=ptr=>{eval(UTF8ToString(ptr))}", "_emscripten_run_script=ptr=>{turnstileRefuse()}"),
    ("_emscripten_run_script_int=ptr=>eval(UTF8ToString(ptr))|0", "_emscripten_run_script_int=ptr=>turnstileRefuse()"),
    ("var s=eval(UTF8ToString(ptr));", "var s=turnstileRefuse();"),
    ("try{var data=await readAsync(url,false);eval(data);loadDone()}", "try{turnstileRefuse()}"),
    # Only the module's own symbols. The rest of this function would offer all of emscripten's JavaScript.
    (
        "if(known!==null)return known;var result;var newSymIndex;",
        'if(known!==null)return known;dlSetError("unknown symbol");return 0;var result;var newSymIndex;',
    ),
    ("var __dlsym_catchup_js=(handle,symbolIndex)=>{", "var __dlsym_catchup_js=(handle,symbolIndex)=>{return 0;"),
    # No processes, no sockets, and only Lean's own threads (seal.js).
    (
        'var cp=require("child_process");var ret=cp.spawnSync(cmdstr,[],{shell:true,stdio:"inherit"});',
        "return-52;var ret;",
    ),
    ("createSocket(family,type,protocol){", "createSocket(family,type,protocol){throw new FS.ErrnoError(5);"),
    ('WebSocketConstructor=require("ws")', "WebSocketConstructor=turnstileRefuse()"),
    ('var WebSocketServer=require("ws").Server;', "var WebSocketServer=turnstileRefuse();"),
    ("var info={worker:new Worker(url),", "var info={worker:turnstileRefuse(),"),
    ("global.Worker=worker_threads.Worker;", "/*no Worker*/"),
    (
        'worker=new Worker(pthreadMainJs,{workerData:"em-pthread",name:"em-pthread"});',
        'worker=turnstileStart("thread","em-pthread");',
    ),
]
"""Replacements that seal lean.js. Each new text occurs once in the result, so that a test can undo it."""

_GONE = re.compile(r"\beval\(|\bnew Function\b|\bnew Worker\b|\bimportScripts\b|\bchild_process\b|\brequire\(\"ws\"\)")
"""Calls that turn text into code or start processes, sockets or threads. None may remain."""


def _replace_once(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise PatchError(f"expected exactly one occurrence of {old[:60]!r}, found {text.count(old)}")
    return text.replace(old, new)


def _drop_unused_exports(text: str) -> str:
    """Remove the variables and assignments of exports that the file does not use (87 of its 89 MB)."""
    declared = re.search(r"var (_main,_lean_main,[\w$,]+);", text)
    assign = re.search(r"function assignWasmExports\(wasmExports\)\{(.*?)\}var wasmImports;", text, re.S)
    if declared is None or assign is None:
        raise PatchError("the list of exports was not found")
    rest = text[: declared.start()] + text[declared.end() : assign.start()] + text[assign.end() :]
    used = set(re.findall(r"[\w$]+", rest))
    names = [n for n in declared.group(1).split(",") if n in used]
    statements: list[str] = []
    for statement in assign.group(1).split(";"):
        name = statement.partition("=")[0]
        if name in used or not re.fullmatch(r'[\w$]+=Module\["[^"]+"\]=wasmExports\["[^"]+"\](\.value)?', statement):
            statements.append(statement)
    if len(names) > 5000 or len(statements) > 5000 or len(names) < 20:
        raise PatchError(f"{len(names)} names and {len(statements)} statements of the export list would remain")
    return (
        text[: declared.start()]
        + "var "
        + ",".join(names)
        + ";"
        + text[declared.end() : assign.start()]
        + "function assignWasmExports(wasmExports){"
        + ";".join(statements)
        + "}var wasmImports;"
        + text[assign.end() :]
    )


def patch_lean_js(text: str) -> str:
    """The patched `lean.js`. Raises PatchError if `text` is not the expected file."""
    text = _drop_unused_exports(text)
    for old, new in (*_REPLACEMENTS, *SEALED):
        text = _replace_once(text, old, new)
    refuse_code(text)
    return front() + text


def front() -> str:
    """The JavaScript that runs before the package's own."""
    return "".join(Path(__file__).with_name(part).read_text(encoding="utf-8") for part in ("seal.js", "snapshot.js"))


def refuse_code(text: str) -> None:
    """Raise PatchError if the text can turn strings into code, or start processes, sockets or threads."""
    if left := _GONE.search(text):
        raise PatchError(f"{left.group()} is still in the file")


def names(text: str) -> set[str]:
    """Every name that the patched JavaScript could ask the module for."""
    return set(re.findall(r"[\w$]+", text))
