//! What the shallow scan of a body costs, beside a tree and beside a struct of raw values, on bodies like a chat's: prose with a
//! line break every 50 bytes, code with many quotes, and an array of numbers.

use std::hint::black_box;

use berry_wire::{boundary, scan_form, scan_json};
use criterion::{BenchmarkId, Criterion, Throughput};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Peek<'b> {
    #[serde(borrow)]
    model: Option<&'b RawValue>,
    #[serde(borrow)]
    stream: Option<&'b RawValue>,
}

/// A chat of about `size` bytes whose messages repeat `line`.
fn chat(size: usize, line: &str) -> Vec<u8> {
    let content = line.repeat(1 + 1200 / line.len());
    let mut messages = Vec::new();
    while messages.len() * content.len() < size {
        let role = if messages.len() % 2 == 0 { "user" } else { "assistant" };
        messages.push(serde_json::json!({"role": role, "content": content}));
    }
    let body = serde_json::json!({"messages": messages, "model": "gpt-4o", "stream": true, "temperature": 0.2});
    serde_json::to_vec(&body).unwrap_or_default()
}

fn numbers(size: usize) -> Vec<u8> {
    let input: Vec<usize> = (0..size / 6).map(|n| 10_000 + n * 7919 % 89_999).collect();
    serde_json::to_vec(&serde_json::json!({"input": input, "model": "e", "stream": true})).unwrap_or_default()
}

fn bench(criterion: &mut Criterion) {
    let prose = "The quick brown fox jumps over the lazy dog, twice\n";
    let code = "let name = \"value\";\n    call(\"a\", 'b');\n";
    let bodies = [
        ("prose 2.3 kB", chat(2_000, prose)),
        ("prose 64 kB", chat(64_000, prose)),
        ("prose 1 MB", chat(1_000_000, prose)),
        ("code 1 MB", chat(1_000_000, code)),
        ("numbers 1 MB", numbers(1_000_000)),
    ];
    for (name, body) in &bodies {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::from_parameter("scan"), |b| b.iter(|| scan_json(black_box(body))));
        group.bench_function(BenchmarkId::from_parameter("serde_json raw"), |b| {
            b.iter(|| serde_json::from_slice::<Peek<'_>>(black_box(body)).map(|peek| (peek.model, peek.stream)).ok());
        });
        group.bench_function(BenchmarkId::from_parameter("serde_json tree"), |b| {
            b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(body)));
        });
    }
}

fn bench_form(criterion: &mut Criterion) {
    let mut body = b"--xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".to_vec();
    body.extend((0..25_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8));
    body.extend_from_slice(
        b"\r\n--xyz\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--xyz--\r\n",
    );
    let boundary = boundary("multipart/form-data; boundary=xyz").unwrap_or_default();
    let mut group = criterion.benchmark_group("form 25 MB");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.sample_size(20);
    group.bench_function("scan", |b| b.iter(|| scan_form(black_box(&body), &boundary)));
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    bench_form(&mut criterion);
    criterion.final_summary();
}
