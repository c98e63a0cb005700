//! A provider's answer as bytes on the wire, whole or spoilt, cut into pieces that come at their own times.

use berry_vocab::Dice;

use super::fault::Fault;
use super::plan::{Millis, below, chance, one_of};
use super::speech::Speech;

/// What goes out, and what happens then.
pub(super) struct Answer {
    /// Time before the first byte.
    pub(super) delay: Millis,
    /// Bytes, and the time that passes behind them.
    pub(super) pieces: Vec<(Vec<u8>, Millis)>,
    pub(super) end: End,
    /// What of the body stands on the wire.
    pub(super) body: Vec<u8>,
    /// Whether the body comes to an end as its framing has it.
    pub(super) is_framed: bool,
}

/// What a connection comes to after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Keep,
    Close,
    Reset,
    /// It stays, and nothing more comes.
    Hang,
}

/// How a body is framed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
    UntilClose,
}

/// A message on the wire, with how much of the body each stretch of it holds.
struct Message {
    wire: Vec<u8>,
    head: usize,
    /// Where on the wire a stretch of the body begins, and its bytes.
    stretches: Vec<(usize, Vec<u8>)>,
    framing: Framing,
}

/// The answer to a question for `text`, in a time of that fault.
pub(super) fn answer(fault: Option<Fault>, speech: &Speech, stream: bool, text: &str, dice: &mut dyn Dice) -> Answer {
    match fault {
        None => sound(speech, stream, text, dice),
        Some(Fault::Refuse | Fault::Blackhole | Fault::ResetFirst) => nothing(End::Reset),
        Some(Fault::SlowHead) => Answer { delay: 20_000, ..sound(speech, stream, text, dice) },
        Some(Fault::Status(status)) => plain(&status_line(status, None), &speech.refusal(status), dice),
        Some(Fault::Wait(status, seconds)) => plain(&status_line(status, Some(seconds)), &speech.refusal(status), dice),
        Some(Fault::Page) => plain("200 OK\r\ncontent-type: text/html", "<!doctype html><p>no", dice),
        Some(Fault::Empty) => plain("200 OK\r\ncontent-type: application/json", "", dice),
        Some(Fault::ErrorIn200) => plain(JSON, speech.error, dice),
        Some(Fault::Garbage) => raw(b"\x16\x03\x01 this is no HTTP\r\n\r\n".to_vec()),
        Some(Fault::ErrorFirst | Fault::ErrorLater) if !stream => plain(JSON, speech.error, dice),
        Some(Fault::ErrorFirst) => events(&[speech.their_error_event()], dice),
        Some(Fault::ErrorLater) => {
            let mut all = speech.events(text, 1 + below(dice, 4));
            let whole = all.len();
            all.truncate(1 + below(dice, whole as u64 - 1) as usize);
            all.push(speech.their_error_event());
            events(&all, dice)
        }
        Some(Fault::Surplus) => {
            let parts = if stream { speech.events(text, 2) } else { vec![speech.plain(text)] };
            let mut answer = whole(Message::new(if stream { EVENTS } else { JSON }, &parts, Framing::Chunks), dice);
            let behind = Message::new(JSON, &[speech.plain("nobody asked")], Framing::Length).wire;
            if let Some((last, _)) = answer.pieces.last_mut() {
                last.extend(behind);
            }
            answer
        }
        Some(fault @ (Fault::ResetWithin | Fault::Truncate | Fault::Stall)) => {
            spoilt(fault, message(speech, stream, text, dice), dice)
        }
    }
}

const JSON: &str = "200 OK\r\ncontent-type: application/json";

fn status_line(status: u16, wait: Option<u64>) -> String {
    let wait = wait.map(|seconds| format!("\r\nretry-after: {seconds}")).unwrap_or_default();
    format!("{status} No\r\ncontent-type: application/json{wait}")
}

fn nothing(end: End) -> Answer {
    Answer { delay: 0, pieces: Vec::new(), end, body: Vec::new(), is_framed: false }
}

fn raw(bytes: Vec<u8>) -> Answer {
    Answer { pieces: vec![(bytes, 0)], ..nothing(End::Close) }
}

fn sound(speech: &Speech, stream: bool, text: &str, dice: &mut dyn Dice) -> Answer {
    whole(message(speech, stream, text, dice), dice)
}

fn message(speech: &Speech, stream: bool, text: &str, dice: &mut dyn Dice) -> Message {
    let framing = *one_of(&[Framing::Chunks, Framing::Chunks, Framing::Length, Framing::UntilClose], dice);
    if !stream {
        return Message::new(JSON, &[speech.plain(text)], framing);
    }
    Message::new(EVENTS, &speech.events(text, 1 + below(dice, 5)), framing)
}

const EVENTS: &str = "200 OK\r\ncontent-type: text/event-stream";

fn plain(head: &str, body: &str, dice: &mut dyn Dice) -> Answer {
    whole(Message::new(head, &[body.to_owned()], Framing::Length), dice)
}

fn events(all: &[String], dice: &mut dyn Dice) -> Answer {
    whole(Message::new(EVENTS, all, Framing::Chunks), dice)
}

fn whole(message: Message, dice: &mut dyn Dice) -> Answer {
    let end = match message.framing {
        Framing::UntilClose => End::Close,
        _ if chance(dice, 10) => End::Close,
        _ => End::Keep,
    };
    let (body, len) = (message.body(message.wire.len()), message.wire.len());
    message.played(len, (end, body, true), dice)
}

fn spoilt(fault: Fault, message: Message, dice: &mut dyn Dice) -> Answer {
    let cut = message.head + below(dice, (message.wire.len() - message.head) as u64) as usize;
    let body = message.body(cut);
    let end = match fault {
        Fault::ResetWithin => End::Reset,
        Fault::Stall => End::Hang,
        _ => End::Close,
    };
    let is_clean = end == End::Close && message.framing != Framing::Length;
    if !is_clean || (message.framing == Framing::Chunks && chance(dice, 50)) {
        return message.played(cut, (end, body, false), dice);
    }
    // As a provider ends whose own source has failed: in good order, too early.
    let head = String::from_utf8_lossy(&message.wire[..message.head]).into_owned();
    let head = head.split_once(' ').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    let head = head.lines().take(2).collect::<Vec<_>>().join("\r\n");
    let early = Message::new(&head, &[String::from_utf8_lossy(&body).into_owned()], message.framing);
    let len = early.wire.len();
    early.played(len, (End::Close, body, true), dice)
}

impl Message {
    /// `head`: the status, and the lines of the head but for those of the framing.
    fn new(head: &str, parts: &[String], framing: Framing) -> Self {
        let length: usize = parts.iter().map(String::len).sum();
        let line = match framing {
            Framing::Length => format!("content-length: {length}"),
            Framing::Chunks => "transfer-encoding: chunked".to_owned(),
            Framing::UntilClose => "connection: close".to_owned(),
        };
        let mut wire = format!("HTTP/1.1 {head}\r\n{line}\r\n\r\n").into_bytes();
        let (head, mut stretches) = (wire.len(), Vec::new());
        for part in parts.iter().filter(|part| !part.is_empty()) {
            if framing == Framing::Chunks {
                wire.extend(format!("{:x}\r\n", part.len()).bytes());
            }
            stretches.push((wire.len(), part.clone().into_bytes()));
            wire.extend(part.bytes());
            if framing == Framing::Chunks {
                wire.extend(b"\r\n");
            }
        }
        if framing == Framing::Chunks {
            wire.extend(b"0\r\n\r\n");
        }
        Self { wire, head, stretches, framing }
    }

    /// What of the body stands in the first `cut` bytes of the wire.
    fn body(&self, cut: usize) -> Vec<u8> {
        let of = |(at, bytes): &(usize, Vec<u8>)| bytes[..cut.saturating_sub(*at).min(bytes.len())].to_vec();
        self.stretches.iter().flat_map(of).collect()
    }

    /// The first `cut` bytes of it, in pieces.
    fn played(&self, cut: usize, (end, body, is_framed): (End, Vec<u8>, bool), dice: &mut dyn Dice) -> Answer {
        let mut pieces = Vec::new();
        let mut rest = &self.wire[..cut];
        let longest = *one_of(&[7, 60, 400, 100_000], dice);
        while !rest.is_empty() {
            let len = rest.len().min(1 + below(dice, longest) as usize).max(rest.len() / 12);
            let pause = if chance(dice, 30) { below(dice, 150) } else { 0 };
            pieces.push((rest[..len].to_vec(), pause));
            rest = &rest[len..];
        }
        if let Some((_, pause)) = pieces.last_mut() {
            *pause = 0;
        }
        Answer { delay: below(dice, 300), pieces, end, body, is_framed }
    }
}
