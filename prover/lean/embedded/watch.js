// The thread that looks at the step that Lean works on: turnstileWatch in snapshot.js starts it. It loads none of Lean.
//
// `step`, `limit` and `late` are indices of 32-bit words. A small number or truth value n is written 2n+1.

const { memory, step, limit, late } = require("worker_threads").workerData;
const words = new Int32Array(memory);
const pause = new Int32Array(new SharedArrayBuffer(4));
let seen = 1, since = 0;
for (;;) {
  Atomics.wait(pause, 0, 0, 50);
  const now = Atomics.load(words, step);
  const ms = Atomics.load(words, limit) >> 1;
  if (now !== seen) [seen, since] = [now, performance.now()];
  else if (now !== 1 && ms > 0 && performance.now() - since > ms && Atomics.load(words, step) === now)
    Atomics.store(words, late, 3);
}
