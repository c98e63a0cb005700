//! Clients over HTTP/2 that send what is cheap to send and dear to handle (failure model, C23): each is told to calm down or that
//! it breaks the protocol, and is closed; or it is held up by its own unread answers until it has been silent for too long. What
//! it costs is bounded, no backend hears of it, and the connections beside it are served.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf};
use tokio::time::{Instant, timeout};

use crate::harness::{ALICE, head};
use crate::ports::{Gate, on_pipes};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Errors (RFC 9113, section 7).
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

/// More than any of these attacks may get through, and the memory that it may take meanwhile.
const MANY: u32 = 100_000;
const MOST_MEMORY: u64 = 24 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that is neither indexed nor compressed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [&[0][..], &short(name), &short(value)].concat()
}

/// The block of a request for a chat with Alice's token.
fn block() -> Vec<u8> {
    // POST and http by their index in HPACK's static table.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(":path", "/v1/chat/completions"), (":authority", "b"), ("x-api-key", ALICE)] {
        block.extend(literal(name, value));
    }
    block
}

/// The ids of a client's streams.
fn streams() -> impl Iterator<Item = u32> {
    (0..MANY).map(|n| 2 * n + 1)
}

/// What came of a flood.
#[derive(Debug)]
struct Outcome {
    /// Why the connection was ended, if that was said.
    reason: Option<u32>,
    /// How many bytes had been taken until then.
    taken: usize,
    /// How many were to be sent.
    all: usize,
    /// Whether it is closed.
    is_closed: bool,
}

/// Sends frames for as long as they are taken, reading what comes or not.
async fn flood(gate: &Gate, frames: Vec<Vec<u8>>, is_reading: bool) -> Outcome {
    let before = resident();
    let stream = gate.stream_from([203, 0, 113, 7].into());
    let (reader, mut writer) = tokio::io::split(stream);
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    bytes.extend(frames.concat());
    let all = bytes.len();
    let write = async move {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match writer.write(rest).await {
                Ok(written) if written > 0 => taken += written,
                _ => break,
            }
        }
        (taken, writer)
    };
    // In virtual time: a minute and a half costs nothing, and no client is kept for longer that takes nothing.
    let patience = Duration::from_secs(90);
    let (written, (reason, is_closed)) = if is_reading {
        tokio::join!(timeout(patience, write), read(reader, patience))
    } else {
        let written = timeout(patience, write).await;
        (written, read(reader, patience).await)
    };
    let grown = resident().saturating_sub(before);
    assert!(grown < MOST_MEMORY + all as u64, "{grown} bytes of memory more, for {all} that were sent");
    Outcome { reason, taken: written.map_or(0, |(taken, _)| taken), all, is_closed }
}

/// Reads frames to the end. Gives the reason of the GOAWAY among them, and whether the connection was closed in time.
async fn read(mut reader: ReadHalf<DuplexStream>, patience: Duration) -> (Option<u32>, bool) {
    let mut bytes = Vec::new();
    let is_closed = timeout(patience, async { while reader.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {} });
    let is_closed = is_closed.await.is_ok();
    let (mut rest, mut reason) = (&bytes[..], None);
    while let [a, b, c, kind, _, _, _, _, _, behind @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, behind)) = behind.split_at_checked(length) else { break };
        if let (GOAWAY, [_, _, _, _, a, b, c, d, ..]) = (*kind, payload) {
            reason = reason.filter(|reason| *reason != 0).or(Some(u32::from_be_bytes([*a, *b, *c, *d])));
        }
        rest = behind;
    }
    (reason, is_closed)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Others are served, and no backend has been asked.
async fn assert_well(gate: &mut Gate, case: &str) {
    let mut other = gate.client();
    other.send(head("GET", "/health/live", &[], None)).await;
    assert_eq!(other.response().await.status, 200, "{case}");
    assert!(gate.opened.try_recv().is_err(), "{case}: a backend was asked");
}

async fn metrics(gate: &Gate) -> String {
    let mut scraper = gate.client();
    scraper.send(head("GET", "/metrics", &[], None)).await;
    scraper.response().await.text()
}

#[tokio::test(start_paused = true)]
async fn floods_are_told_to_calm_down_or_that_they_break_the_protocol_and_closed() {
    let request = |id| frame(HEADERS, END_HEADERS, id, &block());
    let whole = |id| frame(HEADERS, END_HEADERS | END_STREAM, id, &block());
    let reset = |id| frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
    let cases: Vec<(&str, Vec<Vec<u8>>, u32)> = vec![
        ("rapid reset", streams().flat_map(|id| [request(id), reset(id)]).collect(), ENHANCE_YOUR_CALM),
        (
            "made to reset, by a window of nothing",
            streams().flat_map(|id| [request(id), frame(WINDOW_UPDATE, 0, id, &[0; 4])]).collect(),
            PROTOCOL_ERROR,
        ),
        (
            "made to reset, by a window beyond its limit",
            streams()
                .flat_map(|id| [request(id), frame(WINDOW_UPDATE, 0, id, &0x7fff_ffff_u32.to_be_bytes())])
                .collect(),
            ENHANCE_YOUR_CALM,
        ),
        (
            "made to reset, by data behind the end",
            streams().flat_map(|id| [whole(id), frame(DATA, 0, id, b"x")]).collect(),
            PROTOCOL_ERROR,
        ),
        (
            "a head that never ends",
            [frame(HEADERS, 0, 1, &block())]
                .into_iter()
                .chain((0..MANY).map(|_| frame(CONTINUATION, 0, 1, &literal("x", "y"))))
                .collect(),
            ENHANCE_YOUR_CALM,
        ),
        (
            "a head that never ends, of empty frames",
            [frame(HEADERS, 0, 1, &block())]
                .into_iter()
                .chain((0..MANY).map(|_| frame(CONTINUATION, 0, 1, &[])))
                .collect(),
            ENHANCE_YOUR_CALM,
        ),
        (
            "data without content",
            [request(1)].into_iter().chain((0..MANY).map(|_| frame(DATA, 0, 1, &[]))).collect(),
            ENHANCE_YOUR_CALM,
        ),
        (
            "a frame between the parts of a head",
            vec![frame(HEADERS, 0, 1, &block()), frame(PING, 0, 0, &[0; 8])],
            PROTOCOL_ERROR,
        ),
        ("a continuation of nothing", vec![frame(CONTINUATION, END_HEADERS, 1, &block())], PROTOCOL_ERROR),
        (
            "a window beyond its limit",
            vec![frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()); 2],
            FLOW_CONTROL_ERROR,
        ),
        ("a window of nothing", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])], PROTOCOL_ERROR),
        ("a frame beyond the limit", vec![frame(DATA, 0, 1, &[0; 16_385])], FRAME_SIZE_ERROR),
        ("settings of half a row", vec![frame(SETTINGS, 0, 0, &[0; 5])], PROTOCOL_ERROR),
        ("a ping of seven bytes", vec![frame(PING, 0, 0, &[0; 7])], PROTOCOL_ERROR),
        ("a promise of a client's", vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])], PROTOCOL_ERROR),
        ("a stream of a server's", vec![whole(2)], PROTOCOL_ERROR),
        ("data on no stream", vec![frame(DATA, 0, 0, b"x")], PROTOCOL_ERROR),
        (
            "a broken block",
            vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
            PROTOCOL_ERROR,
        ),
    ];
    on_pipes(
        |text| text,
        async |mut gate| {
            let (mut wrong, all) = (Vec::new(), cases.len());
            for (case, frames, reason) in cases {
                let outcome = flood(&gate, frames, true).await;
                let is_cut = outcome.all < 1 << 18 || outcome.taken < outcome.all / 2;
                if !outcome.is_closed || !is_cut || outcome.reason != Some(reason) {
                    wrong.push(format!("{case}: {outcome:?}"));
                }
                assert_well(&mut gate, case).await;
            }
            assert!(wrong.is_empty(), "{wrong:#?}");
            // Each is counted, as messages over HTTP/1 are that cannot be read.
            let text = metrics(&gate).await;
            assert!(
                text.contains(&format!("berry_malformed_messages_total{{service=\"berry-api\"}} {all}\n")),
                "{text}"
            );
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_answers_and_takes_none_is_held_up_and_then_closed() {
    let ask = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block());
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("pings", (0..MANY).map(|_| frame(PING, 0, 0, &[7; 8])).collect()),
        ("settings", (0..MANY).map(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])).collect()),
        ("settings of nothing", (0..MANY).map(|_| frame(SETTINGS, 0, 0, &[])).collect()),
        (
            "requests that are refused",
            streams().map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, &ask[9..20])).collect(),
        ),
    ];
    on_pipes(
        |text| text,
        async |mut gate| {
            for (case, frames) in cases {
                let started = Instant::now();
                let outcome = flood(&gate, frames, false).await;
                assert!(outcome.is_closed && outcome.taken < outcome.all, "{case}: {outcome:?}");
                assert!(started.elapsed() < Duration::from_secs(180), "{case}: {:?}", started.elapsed());
                assert_well(&mut gate, case).await;
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn frames_that_mean_nothing_cost_nothing() {
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("priorities", streams().map(|id| frame(PRIORITY, 0, id, &[0, 0, 0, 0, 1])).collect()),
        ("unknown frames", (0..MANY).map(|n| frame(0x42, 0, n, &[1, 2, 3])).collect()),
        ("pings that are read", (0..MANY).map(|_| frame(PING, 0, 0, &[7; 8])).collect()),
        ("settings that are read", (0..MANY).map(|_| frame(SETTINGS, 0, 0, &[])).collect()),
    ];
    on_pipes(
        |text| text,
        async |mut gate| {
            for (case, frames) in cases {
                // It goes idle once they have been taken, and is closed for that.
                let outcome = flood(&gate, frames, true).await;
                assert!(outcome.is_closed, "{case}: {outcome:?}");
                assert_well(&mut gate, case).await;
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    on_pipes(
        |text| text,
        async |mut gate| {
            // A field of 4,000 bytes goes into the table once, and is then named by one byte as often as the frame has room.
            let value = "b".repeat(4000);
            let mut bomb = vec![0x83, 0x86];
            for (name, value) in [(":path", "/v1/chat/completions"), (":authority", "b"), ("x-api-key", ALICE)] {
                bomb.extend(literal(name, value));
            }
            // With indexing; the length is 4000 in HPACK's integers of seven bits.
            bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
            bomb.extend(value.as_bytes());
            bomb.extend(vec![0xbe; 8000]);
            let frames = streams()
                .take(100)
                .map(|id| {
                    frame(
                        HEADERS,
                        END_HEADERS | END_STREAM,
                        id,
                        if id == 1 { &bomb } else { &bomb[bomb.len() - 8000..] },
                    )
                })
                .collect();
            let outcome = flood(&gate, frames, true).await;
            assert!(outcome.is_closed, "{outcome:?}");
            assert_well(&mut gate, "a bomb").await;
        },
    )
    .await;
}
