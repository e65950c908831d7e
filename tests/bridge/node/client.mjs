// A parent that speaks lines: many requests, every mistake, pauses, and a bridge that it kills.
//
// `node client.mjs PLAN.json` prints what it saw as JSON. Each request has to be answered once,
// with the vectors that are expected, whatever happens around it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

const TOLERANCE = 1e-5;
const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const expected = floats(readFileSync(plan.expected));
const width = plan.dimensions;
const seen = { answered: 0, cancelled: 0, refused: 0, wrong: [], rss: [] };
const pending = new Map(); // id -> { picks, cancelled, error }
const controls = new Set(); // ids of cancels and questions
let anonymous = 0; // errors without an id that have not come

let state = BigInt(plan.seed);
function random(below) {
  // SplitMix64: the same seed makes the same mistakes.
  const mask = (1n << 64n) - 1n;
  state = (state + 0x9e3779b97f4a7c15n) & mask;
  let z = state;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
  return Number((z ^ (z >> 31n)) % BigInt(below));
}

function floats(bytes) {
  const copy = new Uint8Array(bytes); // an own buffer, so that it is aligned
  return new Float32Array(copy.buffer);
}

function line(message) {
  return Buffer.from(JSON.stringify(message) + "\n");
}

function isRight(reply, asked) {
  return (
    reply.ok === true &&
    reply.vectors.length === asked.picks.length &&
    reply.vectors.every((vector, row) => {
      const values = typeof vector === "string" ? floats(Buffer.from(vector, "base64")) : vector;
      const start = asked.picks[row] * width;
      for (let at = 0; at < width; at++) {
        if (!(Math.abs(values[at] - expected[start + at]) < TOLERANCE)) return false;
      }
      return values.length === width;
    })
  );
}

function take(reply) {
  if (reply.rss_bytes) seen.rss.push(reply.rss_bytes);
  const code = reply.error?.code;
  if (reply.id === null) {
    anonymous--;
    seen.refused++;
    if (anonymous < 0 || !["invalid_json", "invalid_request", "too_large"].includes(code)) {
      seen.wrong.push(JSON.stringify(reply));
    }
  } else if (controls.delete(reply.id)) {
    if (!reply.ok) seen.wrong.push(JSON.stringify(reply));
  } else {
    const asked = pending.get(reply.id);
    pending.delete(reply.id);
    if (asked?.error && asked.error === code) seen.refused++;
    else if (asked?.cancelled && code === "cancelled") seen.cancelled++;
    else if (asked && !asked.error && isRight(reply, asked)) seen.answered++;
    else seen.wrong.push(JSON.stringify(reply).slice(0, 300));
  }
}

// One mistake: what is written, and the code of the error where the reply has the id.
function mistake(id) {
  const noise = Buffer.from(Array.from({ length: random(200) }, () => random(256)));
  const bytes = noise.filter((byte) => byte !== 10);
  const which = random(60);
  if (which === 0) return [Buffer.concat([Buffer.alloc(9 << 20, "x"), Buffer.from("\n")])];
  if (which === 1) return [line({ op: "embed", id, texts: Array(2049).fill("a") }), "too_large"];
  if (which < 20) return [Buffer.concat([Buffer.from("{"), bytes, Buffer.from("\n")])];
  if (which < 30) return [line({ op: "embed", texts: ["no id"] })];
  if (which < 40) return [line({ op: "embed", id, texts: ["half a pair: \ud800"] }), "invalid_json"];
  if (which < 50) return [line({ op: "embed", id, texts: ["a", 5] }), "invalid_request"];
  return [line({ op: "sing", id }), "unknown_op"];
}

class Bridge {
  constructor() {
    this.child = spawn(plan.argv[0], plan.argv.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
    this.exit = once(this.child, "exit");
    this.output = this.#read();
    this.child.stdin.on("error", () => {}); // it was killed
    this.wake = () => {};
  }

  async #read() {
    let rest = [];
    for await (const piece of this.child.stdout) {
      let start = 0;
      for (let end; (end = piece.indexOf(10, start)) >= 0; start = end + 1) {
        const whole = Buffer.concat([...rest, piece.subarray(start, end)]);
        rest = [];
        if (whole.length) this.hello === undefined ? this.#greet(whole) : take(JSON.parse(whole));
      }
      rest.push(piece.subarray(start));
      this.wake();
      // Nothing is read meanwhile: the pipe fills up.
      if (random(2000) === 0) await new Promise((done) => setTimeout(done, 300));
    }
  }

  #greet(whole) {
    this.hello = JSON.parse(whole);
    console.log(JSON.stringify({ pid: this.hello.pid }));
  }

  async until(condition) {
    while (!condition()) await new Promise((done) => (this.wake = done));
  }

  async write(bytes) {
    const cut = random(4) === 0 ? random(bytes.length) : 0;
    if (cut) this.child.stdin.write(bytes.subarray(0, cut));
    if (!this.child.stdin.write(bytes.subarray(cut))) await once(this.child.stdin, "drain");
  }
}

// Send one request, and perhaps a mistake, a cancel or a question beside it.
async function send(bridge, id) {
  await bridge.until(() => pending.size < plan.window || pending.has(id));
  if (!pending.has(id)) {
    const picks = Array.from({ length: 1 + random(4) }, () => random(plan.texts.length));
    pending.set(id, { picks, cancelled: random(50) === 0 });
  }
  const asked = pending.get(id); // a resent request keeps its texts, and its id
  const encoding = random(2) ? "float" : "base64";
  const out = [line({ op: "embed", id, texts: asked.picks.map((at) => plan.texts[at]), encoding })];
  if (asked.cancelled) {
    controls.add(`c${id}`);
    out.push(line({ op: "cancel", id: `c${id}`, target: id }));
  }
  if (random(500) === 0) {
    controls.add(`s${id}`);
    out.push(line({ op: "stats", id: `s${id}` }));
  }
  if (random(20) === 0) {
    const other = `m${id}`;
    const [bytes, error] = mistake(other);
    out.push(bytes);
    if (error) pending.set(other, { picks: [], error });
    else anonymous++;
  }
  await bridge.write(Buffer.concat(out));
}

const began = performance.now();
let next = 0;
let resent = 0;
let code;
for (let life = 0; life <= plan.kills; life++) {
  const bridge = new Bridge();
  await bridge.write(line({ op: "hello", versions: [1] }));
  await bridge.until(() => bridge.hello !== undefined);
  if (bridge.hello.version !== 1) throw new Error(JSON.stringify(bridge.hello));
  const open = [...pending.keys()];
  resent += open.length;
  for (const id of open) if (pending.has(id)) await send(bridge, id);
  while (next < Math.floor((plan.requests * (life + 1)) / (plan.kills + 1))) {
    await send(bridge, next++);
  }
  const last = life === plan.kills;
  if (last) bridge.child.stdin.end();
  else bridge.child.kill("SIGKILL");
  await bridge.output;
  code = (await bridge.exit)[0];
  if (!last) {
    // What was a mistake, or a question, is not asked again.
    anonymous = 0;
    controls.clear();
    for (const [id, asked] of pending) if (asked.error) pending.delete(id);
  }
}
console.log(
  JSON.stringify({
    requests: plan.requests,
    ...seen,
    wrong: seen.wrong.length,
    first_wrong: seen.wrong[0] ?? null,
    lost: pending.size + controls.size + anonymous,
    kills: plan.kills,
    resent,
    exit: code,
    seconds: (performance.now() - began) / 1000,
  }),
);
