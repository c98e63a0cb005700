//! What it costs to follow a stream, for each event of it once content has come: chat as pieces, messages and responses typed.

use std::hint::black_box;

use berry_wire::{EventReader, Operation};
use criterion::{Criterion, Throughput};

const CHAT: &str = "data: {\"id\":\"chatcmpl-CYtqStRm4Jf5bKd3nRz7mPvA1sLhGe\",\"object\":\"chat.completion.chunk\",\"created\":1762300800,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" gateway\"},\"finish_reason\":null}]}\n\n";
const TOOL: &str = "data: {\"id\":\"chatcmpl-CYtqStRm4Jf5bKd3nRz7mPvA1sLhGe\",\"object\":\"chat.completion.chunk\",\"created\":1762300800,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{\\\"loca\"}}]},\"finish_reason\":null}]}\n\n";
const MESSAGES: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" gateway\"}}\n\n";
const RESPONSES: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":5,\"item_id\":\"msg_68ff1c0b19a48190b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9\",\"output_index\":0,\"content_index\":0,\"delta\":\" gateway\",\"logprobs\":[],\"obfuscation\":\"kq7Z\"}\n\n";
const GEMINI: &str = "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"A gateway stands\"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 8,\"candidatesTokenCount\": 3,\"totalTokenCount\": 35},\"modelVersion\": \"gemini-2.5-flash\"}\r\n\r\n";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("event");
    for (name, operation, event) in [
        ("chat", Operation::ChatCompletions, CHAT),
        ("chat, second tool", Operation::ChatCompletions, TOOL),
        ("messages", Operation::Messages, MESSAGES),
        ("responses", Operation::Responses, RESPONSES),
        ("gemini", Operation::StreamGenerateContent, GEMINI),
    ] {
        let mut reader = EventReader::new(operation);
        group.throughput(Throughput::Bytes(event.len() as u64));
        group.bench_function(name, |b| b.iter(|| reader.next(black_box(event.as_bytes()))));
        let (first, second) = event.as_bytes().split_at(event.len() / 2);
        group.bench_function(format!("{name}, split"), |b| {
            b.iter(|| (reader.next(black_box(first)), reader.next(black_box(second))));
        });
    }
    group.finish();
    criterion.final_summary();
}
