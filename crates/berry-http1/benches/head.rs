//! Own reader beside httparse, on the head that the Python OpenAI client sends. `cargo bench -p berry-http1`.

#![expect(missing_docs, reason = "the macro of criterion makes a public function")]

use std::hint::black_box;

use berry_http1::{Limits, RequestHead, read_request};
use criterion::{Criterion, criterion_group, criterion_main};

const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\
Accept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 3.54.0\r\nX-Stainless-Lang: python\r\n\
X-Stainless-Package-Version: 3.54.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n\
X-Stainless-Runtime-Version: 3.11.7\r\nAuthorization: Bearer sk-berry-0123456789abcdef0123456789abcdef\r\nX-Stainless-Async: false\r\n\
x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\nContent-Length: 284\r\n\r\n";

fn head(c: &mut Criterion) {
    let mut group = c.benchmark_group("request head");
    let mut own = RequestHead::default();
    group.bench_function("own, with framing rules", |b| {
        b.iter(|| read_request(black_box(HEAD), &Limits::default(), &mut own))
    });
    group.bench_function("httparse, syntax only", |b| {
        b.iter(|| {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut request = httparse::Request::new(&mut fields);
            request.parse(black_box(HEAD)).map(|status| status.is_complete())
        })
    });
    group.finish();
}

criterion_group!(benches, head);
criterion_main!(benches);
