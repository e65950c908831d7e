//! A parent that speaks frames: many requests, every mistake, pauses, and a bridge that it kills.
//!
//! `bridge-client PLAN.json` prints what it saw as JSON. Each request has to be answered once, with
//! the vectors that are expected, whatever happens around it.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const TOLERANCE: f32 = 1e-5;
const PATIENCE: Duration = Duration::from_secs(60);

/// SplitMix64: the same seed makes the same mistakes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What is asked for, and what must come.
struct Plan {
    argv: Vec<String>,
    requests: u64,
    window: usize,
    kills: u64,
    seed: u64,
    texts: Vec<String>,
    expected: Vec<Vec<f32>>,
}

impl Plan {
    fn read(path: &str) -> Plan {
        let plan: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let strings = |name: &str| -> Vec<String> {
            let list = plan[name].as_array().unwrap();
            list.iter().map(|each| each.as_str().unwrap().to_owned()).collect()
        };
        let width = plan["dimensions"].as_u64().unwrap() as usize;
        let bytes = std::fs::read(plan["expected"].as_str().unwrap()).unwrap();
        Plan {
            argv: strings("argv"),
            requests: plan["requests"].as_u64().unwrap(),
            window: plan["window"].as_u64().unwrap() as usize,
            kills: plan["kills"].as_u64().unwrap(),
            seed: plan["seed"].as_u64().unwrap(),
            texts: strings("texts"),
            expected: floats(&bytes).chunks(width).map(<[f32]>::to_vec).collect(),
        }
    }
}

/// A request that waits: which texts, whether it may be cancelled, or which error it must get.
struct Pending {
    picks: Vec<usize>,
    cancelled: bool,
    error: Option<&'static str>,
}

#[derive(Default)]
struct Seen {
    pending: HashMap<u64, Pending>,
    controls: usize,  // replies to cancel and stats that have not come
    anonymous: usize, // errors without an id that have not come
    answered: u64,
    refused: u64,
    cancelled: u64,
    wrong: Vec<String>,
    rss: Vec<u64>,
    ended: bool,
}

type Shared = Arc<(Mutex<Seen>, Condvar)>;

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn frame(body: &[u8]) -> Vec<u8> {
    let mut whole = (body.len() as u32).to_le_bytes().to_vec();
    whole.extend_from_slice(body);
    whole
}

fn json_frame(message: &Value) -> Vec<u8> {
    let mut body = vec![0];
    body.extend_from_slice(message.to_string().as_bytes());
    frame(&body)
}

fn embed_frame(id: u64, texts: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![1];
    body.extend_from_slice(&id.to_le_bytes());
    body.extend_from_slice(&(texts.len() as u32).to_le_bytes());
    for text in texts {
        body.extend_from_slice(&(text.len() as u32).to_le_bytes());
        body.extend_from_slice(text);
    }
    frame(&body)
}

fn read_frame(input: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    input.read_exact(&mut body).ok()?;
    Some(body)
}

/// Take replies until the bridge ends, sometimes slowly.
fn take(output: ChildStdout, shared: &Shared, expected: &[Vec<f32>], mut random: Random) {
    let mut input = BufReader::new(output);
    while let Some(body) = read_frame(&mut input) {
        if random.one_in(3000) {
            thread::sleep(Duration::from_millis(300));
        }
        let (seen, changed) = &**shared;
        let mut seen = seen.lock().unwrap();
        match body[0] {
            2 => vectors(&body, &mut seen, expected),
            0 => reply(&serde_json::from_slice(&body[1..]).unwrap(), &mut seen),
            kind => seen.wrong.push(format!("a frame of kind {kind}")),
        }
        changed.notify_all();
    }
    let (seen, changed) = &**shared;
    seen.lock().unwrap().ended = true;
    changed.notify_all();
}

fn vectors(body: &[u8], seen: &mut Seen, expected: &[Vec<f32>]) {
    let id = u64::from_le_bytes(body[1..9].try_into().unwrap());
    let (count, width) = (word(body, 9), word(body, 13));
    let Some(asked) = seen.pending.remove(&id) else {
        return seen.wrong.push(format!("{id} was answered twice, or never asked"));
    };
    let rows = floats(&body[21..]);
    let fits = count == asked.picks.len() && rows.len() == count * width && asked.error.is_none();
    let near = |row: &[f32], wanted: &[f32]| {
        row.len() == wanted.len() && row.iter().zip(wanted).all(|(a, b)| (a - b).abs() < TOLERANCE)
    };
    if fits && rows.chunks(width).zip(&asked.picks).all(|(row, &at)| near(row, &expected[at])) {
        seen.answered += 1;
    } else {
        seen.wrong.push(format!("{id}: not its vectors"));
    }
}

fn reply(reply: &Value, seen: &mut Seen) {
    if let Some(rss) = reply["rss_bytes"].as_u64() {
        seen.rss.push(rss);
    }
    let code = reply["error"]["code"].as_str();
    match (reply["id"].as_u64(), code) {
        (None, Some("invalid_json" | "invalid_request" | "unknown_op" | "too_large"))
            if reply["id"].is_null() => {
            match seen.anonymous.checked_sub(1) {
                Some(left) => seen.anonymous = left,
                None => seen.wrong.push(format!("an error too many: {reply}")),
            }
            seen.refused += 1;
        }
        (Some(id), Some(code)) => match seen.pending.remove(&id) {
            Some(asked) if asked.error == Some(code) => seen.refused += 1,
            Some(asked) if asked.cancelled && code == "cancelled" => seen.cancelled += 1,
            _ => seen.wrong.push(reply.to_string()),
        },
        (None, None) if reply["ok"] == true && reply["id"].is_string() => {
            match seen.controls.checked_sub(1) {
                Some(left) => seen.controls = left,
                None => seen.wrong.push(format!("a reply too many: {reply}")),
            }
        }
        _ => seen.wrong.push(reply.to_string()),
    }
}

/// Write in pieces of any size: a pipe keeps no boundaries.
fn write(input: &mut ChildStdin, bytes: &[u8], random: &mut Random) -> bool {
    let cut = if random.one_in(4) { random.below(bytes.len()) } else { 0 };
    input.write_all(&bytes[..cut]).is_ok() && input.write_all(&bytes[cut..]).is_ok()
}

struct Bridge {
    child: Child,
    input: ChildStdin,
    reader: thread::JoinHandle<()>,
}

fn start(plan: &Plan, shared: &Shared, random: &mut Random) -> Bridge {
    let mut child = Command::new(&plan.argv[0])
        .args(&plan.argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    input.write_all(&json_frame(&json!({"op": "hello", "versions": [1]}))).unwrap();
    let hello: Value = serde_json::from_slice(&read_frame(&mut output).unwrap()[1..]).unwrap();
    assert_eq!(hello["version"], 1, "{hello}");
    println!("{}", json!({"pid": hello["pid"]}));
    shared.0.lock().unwrap().ended = false;
    let (theirs, expected) = (Arc::clone(shared), plan.expected.clone());
    let slow = Random(random.next());
    let reader = thread::spawn(move || take(output, &theirs, &expected, slow));
    Bridge { child, input, reader }
}

/// One mistake: what is written, and the id and the code of the error where it has one.
fn mistake(id: u64, random: &mut Random) -> (Vec<u8>, Option<&'static str>) {
    let noise: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
    match random.below(60) {
        0 => (frame(&vec![0; 9 << 20]), None),
        1 => (embed_frame(id, &vec![b"a".as_slice(); 2049]), Some("too_large")),
        2..20 => (frame(&[b"\0{".as_slice(), &noise].concat()), None),
        20..35 => (frame(&[&[7 + noise.len() as u8 % 200], noise.as_slice()].concat()), None),
        35..48 => (embed_frame(id, &[b"fine", b"\xff\xfe"]), Some("invalid_request")),
        _ => {
            let wrong = json!({"op": "embed", "id": id, "texts": ["a", 5]});
            (json_frame(&wrong), Some("invalid_request"))
        }
    }
}

/// Send one request, and perhaps a mistake, a cancel or a question beside it.
fn send(id: u64, plan: &Plan, bridge: &mut Bridge, shared: &Shared, random: &mut Random) -> bool {
    let mut out = Vec::new();
    {
        let (lock, changed) = &**shared;
        let full = |seen: &mut Seen| {
            seen.pending.len() >= plan.window && !seen.pending.contains_key(&id) && !seen.ended
        };
        let (mut seen, late) =
            changed.wait_timeout_while(lock.lock().unwrap(), PATIENCE, full).unwrap();
        assert!(!late.timed_out(), "nothing was answered for {PATIENCE:?}");
        let cancelled = random.one_in(50);
        let count = 1 + random.below(4);
        let picks: Vec<usize> = (0..count).map(|_| random.below(plan.texts.len())).collect();
        // A resent request keeps its texts, and its id.
        let asked = seen.pending.entry(id).or_insert(Pending { picks, cancelled, error: None });
        let texts: Vec<&[u8]> = asked.picks.iter().map(|&at| plan.texts[at].as_bytes()).collect();
        out.extend(embed_frame(id, &texts));
        if asked.cancelled {
            out.extend(json_frame(&json!({"op": "cancel", "id": format!("c{id}"), "target": id})));
            seen.controls += 1;
        }
        if random.one_in(500) {
            out.extend(json_frame(&json!({"op": "stats", "id": format!("s{id}")})));
            seen.controls += 1;
        }
        if random.one_in(20) {
            let other = (1 << 52) + id;
            let (bytes, error) = mistake(other, random);
            out.extend(bytes);
            match error {
                Some(_) => {
                    seen.pending.insert(other, Pending { picks: vec![], cancelled: false, error });
                }
                None => seen.anonymous += 1,
            }
        }
    }
    write(&mut bridge.input, &out, random)
}

fn main() {
    let plan = Plan::read(&std::env::args().nth(1).expect("PLAN.json"));
    let shared: Shared = Arc::default();
    let mut random = Random(plan.seed);
    let began = Instant::now();
    let lives = plan.kills + 1;
    let (mut next, mut resent, mut code) = (0, 0, None);
    for life in 0..lives {
        let mut bridge = start(&plan, &shared, &mut random);
        let open: Vec<u64> = shared.0.lock().unwrap().pending.keys().copied().collect();
        resent += open.len();
        for id in open {
            assert!(send(id, &plan, &mut bridge, &shared, &mut random), "it ended by itself");
        }
        while next < plan.requests * (life + 1) / lives {
            assert!(send(next, &plan, &mut bridge, &shared, &mut random), "it ended by itself");
            next += 1;
        }
        if life + 1 < lives {
            bridge.child.kill().unwrap();
        }
        drop(bridge.input);
        bridge.reader.join().unwrap();
        code = bridge.child.wait().unwrap().code();
        let mut seen = shared.0.lock().unwrap();
        if life + 1 < lives {
            // What was a mistake, or a question, is not asked again.
            (seen.controls, seen.anonymous) = (0, 0);
            seen.pending.retain(|_, asked| asked.error.is_none());
        }
    }
    let seen = shared.0.lock().unwrap();
    let lost = seen.pending.len() + seen.controls + seen.anonymous;
    let report = json!({
        "requests": plan.requests, "answered": seen.answered, "cancelled": seen.cancelled,
        "refused": seen.refused, "lost": lost, "wrong": seen.wrong.len(),
        "first_wrong": seen.wrong.first(), "kills": plan.kills, "resent": resent,
        "exit": code, "seconds": began.elapsed().as_secs_f64(), "rss": seen.rss,
    });
    println!("{report}");
}
