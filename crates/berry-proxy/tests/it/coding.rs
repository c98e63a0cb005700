//! Answers that a provider has compressed although identity was asked: plain bytes for the client, as early as they can be told.

use std::io::Write;

use berry_mock::Script;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use tokio::io::AsyncWriteExt;

use crate::harness::{ALICE, Berry, DONE, LAST, chunk, event, request, stream_body};
use crate::ports::{FIRST, chat, on_pipes};

const PATH: &str = "/v1/chat/completions";

const PLAIN: &str = r#"{"id":"1","object":"chat.completion","choices":[]}"#;

/// What the reference encoder makes of `{"a":1}`.
const BROTLI: [u8; 11] = [11, 3, 128, 123, 34, 97, 34, 58, 49, 125, 3];

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; zstd_safe::compress_bound(plain.len())];
    let length = zstd_safe::compress(&mut coded[..], plain, 3).unwrap();
    coded.truncate(length);
    coded
}

#[tokio::test]
async fn an_answer_in_a_coding_that_nobody_asked_for_arrives_in_plain_bytes() {
    let berry = Berry::start().await;
    let cases = [
        ("gzip", gzip(PLAIN.as_bytes()), PLAIN),
        ("X-Gzip", gzip(PLAIN.as_bytes()), PLAIN),
        ("deflate", zlib(PLAIN.as_bytes()), PLAIN),
        ("zstd", zstd(PLAIN.as_bytes()), PLAIN),
        ("br", BROTLI.to_vec(), r#"{"a":1}"#),
    ];
    for (coding, coded, plain) in cases {
        berry.first.script(Script::new().json(200, coded).header("content-encoding", coding));
        let answer = berry.chat("single").await;
        assert_eq!((answer.status, answer.text().as_str(), answer.complete), (200, plain, true), "{coding}");
        assert_eq!(answer.field("content-encoding"), None, "{coding}");
    }
    assert_eq!(berry.first.stats().connections, 1, "connections are reused all the same");
}

#[tokio::test]
async fn a_coded_error_is_read_as_any_other() {
    let berry = Berry::start().await;
    let body = r#"{"error":{"message":"no","type":"invalid_request_error"}}"#;
    berry.first.script(Script::new().json(400, gzip(body.as_bytes())).header("content-encoding", "gzip"));
    let answer = berry.chat("single").await;
    assert_eq!((answer.status, answer.text().as_str()), (400, body));
    let page = gzip(b"<html>a page for people</html>");
    berry.first.script(Script::new().json(200, page).header("content-encoding", "gzip"));
    assert_eq!(berry.chat("chat").await.field("berry-backend"), Some("second/gpt-second"), "a page is seen as one");
}

#[tokio::test]
async fn a_bomb_and_a_coded_answer_that_is_cut_or_spoilt_are_no_whole_answers() {
    let (bomb, mut whole) = (gzip(&vec![0; 3 << 20]), gzip(PLAIN.as_bytes()));
    let cut = whole[..whole.len() - 4].to_vec();
    let garbage = [whole.clone(), b"garbage".to_vec()].concat();
    let checksum = whole.len() - 8;
    whole[checksum] ^= 1;
    for (case, coded) in [("bomb", bomb), ("cut", cut), ("garbage", garbage), ("checksum", whole)] {
        let berry = Berry::without_retries().await;
        berry.first.script(Script::new().json(200, coded).header("content-encoding", "gzip"));
        let answer = berry.chat("single").await;
        assert!(!answer.complete || answer.status == 502, "{case}: {} {}", answer.status, answer.body.len());
        assert!(answer.body.len() < 2 << 20, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_a_compressed_stream_arrive_one_by_one() {
    on_pipes(
        |text| text,
        async |mut gate| {
            let mut client = gate.client();
            client.send(request(PATH, &[("x-api-key", ALICE)], &stream_body("single"))).await;
            let mut upstream = gate.asked(FIRST).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            upstream.write_all(head.as_bytes()).await.unwrap();
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            for event in [event("0"), event("1"), event("2"), DONE.to_owned()] {
                encoder.write_all(event.as_bytes()).unwrap();
                encoder.flush().unwrap();
                let coded = std::mem::take(encoder.get_mut());
                upstream.write_all(&chunk(&coded)).await.unwrap();
                if event.contains("\"0\"") {
                    let (status, fields) = client.head().await.unwrap();
                    assert!(status == 200 && fields.iter().all(|(name, _)| name != "content-encoding"), "{fields:?}");
                }
                assert_eq!(String::from_utf8(client.chunk().await.unwrap()).unwrap(), event);
            }
            upstream.write_all(&chunk(encoder.finish().unwrap())).await.unwrap();
            upstream.write_all(LAST.as_bytes()).await.unwrap();
            assert_eq!(client.chunk().await, Some(Vec::new()), "and ends cleanly");
            chat(&mut client, "single").await;
            let mut served = vec![0; 1];
            tokio::io::AsyncReadExt::read_exact(&mut upstream, &mut served).await.unwrap();
            assert_eq!(served, b"P", "the connection serves the next request");
        },
    )
    .await;
}
