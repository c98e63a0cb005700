//! What it costs to look at every plain answer for a fault, and at requests and answers for what binds them to an account.

use std::hint::black_box;

use berry_wire::{Operation, bound_state, made_state, plain_fault};
use criterion::{Criterion, Throughput};

fn chat(size: usize) -> Vec<u8> {
    let content = "Say \"hello\" to the quick brown fox,\nwhich jumps over the lazy dog. ".repeat(size / 64);
    let message = serde_json::json!({"role": "assistant", "content": content});
    let body =
        serde_json::json!({"id": "x", "choices": [{"index": 0, "message": message}], "usage": {"total_tokens": 3}});
    serde_json::to_vec(&body).unwrap_or_default()
}

fn embeddings(size: usize) -> Vec<u8> {
    let numbers: Vec<f64> = (0..size / 12).map(|n| (n * 7919 % 10_007) as f64 / 1e8 - 5e-5).collect();
    let body = serde_json::json!({"object": "list", "data": [{"index": 0, "embedding": numbers}], "model": "e"});
    serde_json::to_vec(&body).unwrap_or_default()
}

fn bench(criterion: &mut Criterion) {
    let delta = br#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_68ff1c0c2ad08190","output_index":0,"content_index":0,"delta":" fox","logprobs":[]}"#;
    for (name, operation, body) in [
        ("chat 1 kB", Operation::ChatCompletions, chat(1_000)),
        ("chat 64 kB", Operation::ChatCompletions, chat(64_000)),
        ("embeddings 64 kB", Operation::Embeddings, embeddings(64_000)),
        ("responses 64 kB", Operation::Responses, chat(64_000)),
        ("responses delta", Operation::Responses, delta.to_vec()),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("plain_fault", |b| b.iter(|| plain_fault(operation, black_box(&body))));
        group.bench_function("bound_state", |b| b.iter(|| bound_state(operation, black_box(&body))));
        group.bench_function("made_state", |b| b.iter(|| made_state(operation, black_box(&body))));
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
