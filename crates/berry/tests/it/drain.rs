//! The way out.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Folder, Running, chat, config, eventually, get, receive};

#[test]
fn sigterm_lets_a_stream_finish_while_readiness_is_503() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_mock, url) = Running::mock(&["--rate", "10", "--chunks", "25"]);
        let folder = Folder::with(&config(&url, &[("m", "gpt-4o-mini")], "predrain_seconds = 1"));
        let mut running = Running::serve(&folder);
        let (data, admin) = running.addresses();
        assert_eq!(get(&data, "/health/ready", None).status, 200);

        let stream = chat(&data, "m", "true");
        stream.peek(&mut [0]).unwrap();
        running.signal(signal);
        running.stderr.line_with("draining");
        // Before the drain it still takes requests, but says that it will not for long.
        assert_eq!(get(&data, "/health/ready", None).status, 503);
        assert_eq!(get(&data, "/health/live", None).status, 200);
        // Then new requests are told that it is stopping, while the stream goes on and the admin listener can be asked.
        let refused = || Some(receive(chat(&data, "m", "false"))).filter(|answer| answer.status == 503);
        assert!(eventually("a refused request", refused).body.contains("shutdown"));
        assert_eq!(get(&data, "/health/ready", None).status, 503);
        assert!(running.is_running());
        assert_eq!(get(&admin, "/health/live", None).status, 200);
        let answer = receive(stream);
        assert!(answer.body.ends_with("data: [DONE]\n\n"), "{answer:?}");
        assert_eq!(running.status(), Some(0));
        assert!(running.stderr.line_with("drained").contains("nothing was in flight"));
    }
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let folder = Folder::with(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    let mut running = Running::serve(&folder);
    let mut idle = TcpStream::connect(running.addresses().0).unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let asked = Instant::now();
    running.signal(Signal::TERM);
    assert_eq!(running.status(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    // Closed, in whatever way.
    assert!(!idle.read(&mut [0; 1]).is_ok_and(|length| length > 0));
}

#[test]
fn a_second_signal_ends_it_at_once_and_settles_what_was_in_flight() {
    let (_mock, url) = Running::mock(&[]);
    for predrain in ["predrain_seconds = 0", "predrain_seconds = 60"] {
        let folder = Folder::with(&config(&url, &[("m", "mock-hang")], predrain));
        let mut running = Running::serve(&folder);
        let journal = || get(url.strip_prefix("http://").unwrap(), "/__journal", None).body;
        let before = journal().matches("mock-hang").count();
        let _request = chat(&running.addresses().0, "m", "false");
        eventually("the request at the provider", || (journal().matches("mock-hang").count() > before).then_some(()));
        running.signal(Signal::TERM);
        running.stderr.line_with("draining");
        let second = Instant::now();
        running.signal(Signal::TERM);
        assert_eq!(running.status(), Some(0));
        assert!(second.elapsed() < Duration::from_secs(5), "{:?}", second.elapsed());
        assert!(running.stderr.text().contains("request ended"), "{}", running.stderr.text());
    }
}

#[test]
fn when_the_time_to_drain_is_over_what_is_in_flight_is_told_so() {
    let (_mock, url) = Running::mock(&[]);
    let folder = Folder::with(&config(&url, &[("m", "mock-hang")], "drain_seconds = 1"));
    let mut running = Running::serve(&folder);
    let mut request = chat(&running.addresses().0, "m", "false");
    eventually("the request at the provider", || {
        get(url.strip_prefix("http://").unwrap(), "/__journal", None).body.contains("mock-hang").then_some(())
    });
    running.signal(Signal::TERM);
    assert_eq!(running.status(), Some(0));
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""code":"shutdown""#), "{answer}");
    assert!(running.stderr.text().contains("the time to drain is over"), "{}", running.stderr.text());
}

#[test]
fn a_stream_that_outlasts_the_drain_ends_with_the_error_event_shutdown() {
    let (_mock, url) = Running::mock(&["--rate", "5", "--chunks", "1000"]);
    let folder = Folder::with(&config(&url, &[("m", "gpt-4o-mini")], "drain_seconds = 1"));
    let mut running = Running::serve(&folder);
    let stream = chat(&running.addresses().0, "m", "true");
    stream.peek(&mut [0]).unwrap();
    running.signal(Signal::TERM);
    let answer = receive(stream);
    let last = answer.body.trim_end().rsplit("\n\n").next().unwrap().to_owned();
    assert!(last.starts_with("data: {\"error\":{") && last.contains("\"code\":\"shutdown\""), "{last}");
    assert!(!answer.body.contains("[DONE]"), "no end is invented");
    assert_eq!(running.status(), Some(0));
    assert!(running.stderr.text().contains("outcome=shutdown"), "{}", running.stderr.text());
}

#[test]
fn a_hangup_ends_nothing() {
    let folder = Folder::with(&config("http://127.0.0.1:9", &[("m", "m")], ""));
    let running = Running::serve(&folder);
    let (data, _) = running.addresses();
    running.signal(Signal::HUP);
    running.stderr.line_with("SIGHUP");
    assert_eq!(get(&data, "/health/ready", None).status, 200);
    assert_eq!(running.end(), Some(0));
}
