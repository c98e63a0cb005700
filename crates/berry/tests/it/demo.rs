//! `berry demo`: what it prints works.

use std::net::TcpListener;

use crate::harness::{Answer, Running, berry, receive, send};

#[test]
fn the_demos_curl_lines_work_as_printed() {
    let mut demo = Running::start(&mut berry(&["demo", "--seconds", "60"]));
    demo.stdout.line_with("model-weights");
    let text = demo.stdout.text().replace("\\\n", "");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 6, "{text}");
    for line in &lines {
        let answer = play(line);
        assert_eq!(answer.status, 200, "{line}: {answer:?}");
        if line.contains("\"stream\":true") {
            assert!(answer.body.ends_with("data: [DONE]\n\n"), "{answer:?}");
        }
    }
    demo.signal(rustix::process::Signal::TERM);
    assert_eq!(demo.status(), Some(0));
}

#[test]
fn the_demo_sends_requests_and_ends_when_told() {
    let mut demo = Running::start(&mut berry(&["demo", "--requests", "6"]));
    let file = demo.stdout.line_with("configuration").split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(demo.status(), Some(0), "{}", demo.stderr.text());
    demo.stdout.line_with("6 sample requests");
    assert!(!std::path::Path::new(&file).exists(), "nothing stays behind");

    let usual = TcpListener::bind("127.0.0.1:3000");
    let mut demo = Running::start(&mut berry(&["demo", "--seconds", "1"]));
    let gateway = demo.stdout.line_with("gateway  ");
    assert!(usual.is_err() || !gateway.ends_with(":3000"), "a busy port is not taken: {gateway}");
    assert_eq!(demo.status(), Some(0), "{}", demo.stderr.text());
}

/// Does what curl would do with these arguments.
fn play(line: &str) -> Answer {
    // Words are apart by spaces, and in single quotes where they hold some.
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        match number % 2 {
            1 => words.push(part),
            _ => words.extend(part.split_whitespace()),
        }
    }
    let url = words.iter().find_map(|word| word.strip_prefix("http://")).unwrap();
    let (address, path) = url.split_at(url.find('/').unwrap());
    let after = |flag: &'static str| words.windows(2).filter(move |pair| pair[0] == flag).map(|pair| pair[1]);
    let headers: Vec<(&str, &str)> = after("-H").map(|header| header.split_once(": ").unwrap()).collect();
    let body = after("-d").next();
    let method = if body.is_some() { "POST" } else { "GET" };
    receive(send(address, method, path, &headers, body.unwrap_or_default()))
}
