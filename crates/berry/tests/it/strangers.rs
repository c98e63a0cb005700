//! Strangers by the million, each with a wrong token of its own and from an address of its own: nothing is kept of them, and users
//! are served as before (failure model, P7). Half of the addresses are IPv6, of which one attacker has more than memory has bytes.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::spawn;
use std::time::{Duration, Instant};

use berry_bench::{Options, Percentiles};

use crate::harness::{Folder, Running};
use crate::load::{ask, by_length, clients, config, is_long, resident_bytes, tell};

/// What all of them may cost.
const MOST: u64 = 64 << 20;

/// Strangers that ask side by side, and how much each asks before it reads.
const CONNECTIONS: u64 = 4;
const AT_ONCE: u64 = 16;

/// The refusal of every stranger, and what comes of a request that is none.
const REFUSED: &[u8] = b"HTTP/1.1 401 ";

fn question(number: u64, path: &str) -> String {
    let address = match number % 2 {
        0 => format!("{}.{}.{}.{}", 11 + (number >> 24), number >> 16 & 255, number >> 8 & 255, number & 255),
        _ => format!("[2001:db8:{:x}:{:x}::{number:x}]:4711", number >> 16 & 0xffff, number & 0xffff),
    };
    let mut text = format!("GET {path} HTTP/1.1\r\nhost: b\r\n");
    let _ = write!(text, "authorization: Bearer wrong-token-{number:032x}\r\nx-forwarded-for: {address}\r\n\r\n");
    text
}

/// Asks as all these strangers, and says how many were refused.
fn refused(address: &str, path: &str, numbers: std::ops::Range<u64>) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (mut refused, mut next, mut bytes) = (0, numbers.start, Vec::new());
    while next < numbers.end {
        let batch = next..numbers.end.min(next + AT_ONCE);
        let wanted = (batch.end - batch.start) as usize;
        next = batch.end;
        stream.write_all(batch.map(|number| question(number, path)).collect::<String>().as_bytes()).unwrap();
        bytes.clear();
        while count(&bytes) < wanted || !bytes.ends_with(b"}") {
            let mut piece = [0; 16 * 1024];
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..read]);
        }
        refused += count(&bytes) as u64;
    }
    refused
}

fn count(bytes: &[u8]) -> usize {
    bytes.windows(REFUSED.len()).filter(|window| *window == REFUSED).count()
}

/// What a few users see meanwhile.
fn users(address: &str) -> Percentiles {
    let bound = by_length(
        Options { requests: Some(200), ..clients(address, 2) },
        Options { duration: Duration::from_secs(4), ..clients(address, 2) },
    );
    let report = ask(&bound).join().unwrap();
    assert_eq!(report.failed(), 0, "{report}");
    report.latency_us.unwrap()
}

#[test]
fn strangers_with_a_token_and_an_address_each_cost_no_memory_and_slow_nobody_down() {
    let (_mock, url) = Running::mock(&["--journal", "0"]);
    let text = config(&[url], "gpt-4o-mini", "trusted_proxies = [\"127.0.0.1\"]", "");
    let folder = Folder::with(&text);
    let running = Running::serve(&folder);
    let (data, admin) = running.addresses();
    // What a first crowd needs (connections, buffers) is no growth.
    users(&data);
    for (listener, path) in [(&data, "/v1/models"), (&admin, "/admin/system-stats")] {
        assert_eq!(refused(listener, path, 0..64), 64);
    }
    let without = users(&data);
    let before = resident_bytes(&running);

    let all = by_length(20_000, 1_000_000);
    let share = all / CONNECTIONS;
    let started = Instant::now();
    let crowd: Vec<_> = (0..CONNECTIONS)
        .map(|at| {
            // Every tenth of them tries the admin listener.
            let (data, admin, first) = (data.clone(), admin.clone(), (at + 1) * share);
            spawn(move || {
                let of_admin = share / 10;
                refused(&admin, "/admin/system-stats", first..first + of_admin)
                    + refused(&data, "/v1/models", first + of_admin..first + share)
            })
        })
        .collect();
    let with = users(&data);
    let told: u64 = crowd.into_iter().map(|strangers| strangers.join().unwrap()).sum();
    let (took, grown) = (started.elapsed(), resident_bytes(&running).saturating_sub(before));
    let after = users(&data);

    assert_eq!(told, all, "each is refused");
    tell(format!("{all} strangers in {:.1} s: {} KiB of memory more", took.as_secs_f64(), grown >> 10));
    tell(format!("users' p50 {:.0} µs before, {:.0} µs beside them, {:.0} µs after", without.p50, with.p50, after.p50));
    assert!(grown < by_length(MOST / 4, MOST), "{grown} bytes");
    assert!(!is_long() || after.p50 <= 1.5 * without.p50, "what is kept of strangers is in the way of users");
}
