// The seal inside Node. This stands in front of all other text of the patched lean.js, in every thread, and shares its scope.
//
// lean.js is emscripten's whole JavaScript library, of which Lean needs a part. Lean code reaches any of it: the interpreter
// looks up whatever an `@[extern]` names, and code may call what it finds in memory. So what would turn text into JavaScript,
// or start something, is taken out of the file (patch.py), and the class that starts threads is kept here.

function turnstileRefuse() {
  throw new Error("switched off by the seal");
}

// Starts a thread: `thread`, one of Lean's, or `watch` (watch.js). There is no other way to one: a thread with options of its
// own would be one without Node's permissions.
const turnstileStart = (() => {
  const threads = require("worker_threads");
  const { Worker } = threads;
  const files = { __proto__: null, thread: __filename, watch: __dirname + "/watch.js" };
  Object.defineProperty(threads, "Worker", { value: undefined });
  Object.defineProperty(Worker.prototype, "constructor", { value: undefined }); // a thread does not lead back to its class
  require("module").syncBuiltinESMExports();
  return (kind, workerData) => {
    if (!(kind in files)) turnstileRefuse();
    // Without a prototype, so that nobody adds an option there. Flags and environment are the process's.
    return new Worker(files[kind], { __proto__: null, workerData, name: kind === "thread" ? "em-pthread" : kind });
  };
})();

