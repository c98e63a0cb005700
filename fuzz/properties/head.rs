//! What holds of all bytes that claim to be HTTP/1: a head is taken or refused in whatever pieces it comes, one that is taken
//! leaves no room for a second reading and is read the same when it has been written again, and chunks give the same data
//! however they are cut.
//!
//! The first byte seeds the cuts; the rest is the message. Each file is read as a request, as an answer, and as chunks.

mod cut;

use berry_http1::{
    ChunkedReader, Fault, Field, Framing, Limits, RequestHead, ResponseHead, Version, chunk_size_line, find_head_end,
    push_field, push_status_line, read_request, read_response,
};

use cut::cut;

const TIGHT: Limits = Limits { head: 200, fields: 4, target: 40 };

/// What is written again is longer by a blank for each field.
const WIDE: Limits = Limits { head: usize::MAX, fields: 1000, target: usize::MAX };

/// Field lines, each with name and value.
type Lines<'b> = Vec<(&'b [u8], &'b [u8])>;

pub(crate) fn check(input: &[u8]) {
    let Some((seed, bytes)) = input.split_first() else { return };
    for limits in [Limits::default(), TIGHT] {
        if let Some(head) = whole_or_in_pieces(bytes, *seed, |bytes| request(bytes, &limits)) {
            assert!(head.path.of(bytes).len() <= limits.target, "the target is too long");
            within(&limits, head.length, &head.fields);
            the_end_is_where_the_search_says(bytes, *seed, head.length);
            a_request_has_one_reading(bytes, &head);
            a_request_is_read_as_it_was_written(bytes, &head);
        }
        if let Some(head) = whole_or_in_pieces(bytes, *seed, |bytes| response(bytes, &limits)) {
            within(&limits, head.length, &head.fields);
            the_end_is_where_the_search_says(bytes, *seed, head.length);
            a_response_has_one_reading(bytes, &head);
            a_response_is_read_as_it_was_written(bytes, &head);
        }
    }
    chunks_are_read_alike(bytes, *seed);
}

fn request(bytes: &[u8], limits: &Limits) -> Result<Option<RequestHead>, Fault> {
    let mut head = RequestHead::default();
    read_request(bytes, limits, &mut head).map(|is_complete| is_complete.then_some(head))
}

fn response(bytes: &[u8], limits: &Limits) -> Result<Option<ResponseHead>, Fault> {
    let mut head = ResponseHead::default();
    read_response(bytes, limits, &mut head).map(|is_complete| is_complete.then_some(head))
}

/// Reads a head from all bytes, and from ever more of them: neither what was refused nor what was taken may turn out otherwise.
fn whole_or_in_pieces<H: std::fmt::Debug>(
    bytes: &[u8],
    seed: u8,
    read: impl Fn(&[u8]) -> Result<Option<H>, Fault>,
) -> Option<H> {
    let whole = read(bytes);
    let mut end = 0;
    for piece in cut(bytes, seed) {
        end += piece.len();
        match (read(&bytes[..end]), &whole) {
            (Ok(None), _) | (Err(_), Err(_)) => {}
            (Ok(Some(early)), Ok(Some(late))) => assert_eq!(format!("{early:?}"), format!("{late:?}")),
            (early, late) => panic!("{early:?} after {end} bytes, {late:?} in the end"),
        }
    }
    whole.ok().flatten()
}

fn within(limits: &Limits, length: usize, fields: &[Field]) {
    assert!(length <= limits.head && fields.len() <= limits.fields, "{length}, {}", fields.len());
}

fn the_end_is_where_the_search_says(bytes: &[u8], seed: u8, length: usize) {
    assert_eq!(find_head_end(bytes, 0), Ok(Some(length)));
    let mut from = 0;
    for piece in cut(&bytes[..length], seed) {
        let end = from + piece.len();
        assert_eq!(find_head_end(&bytes[..end], from), Ok((end == length).then_some(length)), "from {from}");
        from = end;
    }
}

fn lines<'b>(bytes: &'b [u8], fields: &[Field]) -> Lines<'b> {
    fields.iter().map(|field| (field.name.of(bytes), field.value.of(bytes))).collect()
}

fn values<'l>(lines: &'l Lines<'_>, name: &'l str) -> Vec<&'l [u8]> {
    lines.iter().filter(|(its, _)| its.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value).collect()
}

/// Another parser sees the same fields, and what frames the message stands there once.
fn a_request_has_one_reading(bytes: &[u8], head: &RequestHead) {
    let lines = lines(bytes, &head.fields);
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut room);
    assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(head.length)));
    assert_eq!(other.version, Some(minor(head.version)));
    assert_eq!(lines, other.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect::<Lines<'_>>());

    let (lengths, codings) = (values(&lines, "content-length"), values(&lines, "transfer-encoding"));
    let hosts = values(&lines, "host").len();
    assert!(hosts == 1 || (hosts == 0 && head.version == Version::Http10), "{hosts} hosts");
    match (head.framing, &lengths[..], &codings[..]) {
        (Framing::None, [], []) => {}
        (Framing::None, [length], []) => assert_eq!(number(length), Some(0)),
        (Framing::Length(read), [length], []) => assert_eq!(number(length), Some(read)),
        (Framing::Chunked, [], [coding]) => assert!(coding.eq_ignore_ascii_case(b"chunked")),
        other => panic!("{other:?}"),
    }
}

/// The same of an answer, where equal lengths may stand twice, and some statuses have no body whatever is said. The reason is
/// read by nobody, so that what stands in it does not matter.
fn a_response_has_one_reading(bytes: &[u8], head: &ResponseHead) {
    let lines = lines(bytes, &head.fields);
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Response::new(&mut room);
    match other.parse(bytes) {
        Err(httparse::Error::Status) => {}
        parsed => {
            assert_eq!(parsed, Ok(httparse::Status::Complete(head.length)));
            assert_eq!((other.version, other.code), (Some(minor(head.version)), Some(head.status)));
            let others = other.headers.iter().map(|field| (field.name.as_bytes(), field.value));
            assert_eq!(lines, others.collect::<Lines<'_>>());
        }
    }
    let (lengths, codings) = (values(&lines, "content-length"), values(&lines, "transfer-encoding"));
    match head.framing {
        Framing::None if matches!(head.status, 100..=199 | 204 | 304) => {}
        Framing::Chunked => assert!(lengths.is_empty() && codings.len() == 1, "{lines:?}"),
        Framing::UntilClose => assert!(lengths.is_empty() && codings.is_empty() && !head.keep_alive, "{lines:?}"),
        Framing::None | Framing::Length(_) => {
            let read = if let Framing::Length(read) = head.framing { read } else { 0 };
            assert!(codings.is_empty() && !lengths.is_empty(), "{lines:?}");
            assert!(lengths.iter().all(|length| number(length) == Some(read)), "{lines:?}");
        }
    }
}

fn minor(version: Version) -> u8 {
    u8::from(version == Version::Http11)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn push_fields(out: &mut Vec<u8>, bytes: &[u8], fields: &[Field]) {
    for (name, value) in lines(bytes, fields) {
        push_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn a_request_is_read_as_it_was_written(bytes: &[u8], head: &RequestHead) {
    let line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let mut written = line[..=line.iter().position(|byte| *byte == b'\n').unwrap()].to_vec();
    push_fields(&mut written, bytes, &head.fields);
    let again = request(&written, &WIDE).unwrap().unwrap();
    let facts = |head: &RequestHead| {
        let flags = [head.keep_alive, head.expects_continue, head.expects_other, head.connection_names_fields];
        (head.method, head.version, head.framing, flags)
    };
    assert_eq!(facts(&again), facts(head));
    assert_eq!(again.path.of(&written), head.path.of(bytes));
    assert_eq!(again.query.map(|query| query.of(&written)), head.query.map(|query| query.of(bytes)));
    assert_eq!(lines(&written, &again.fields), lines(bytes, &head.fields));
    assert_eq!(again.length, written.len());
}

fn a_response_is_read_as_it_was_written(bytes: &[u8], head: &ResponseHead) {
    let mut written = Vec::new();
    push_status_line(&mut written, head.status);
    // Berry itself writes HTTP/1.1 alone.
    written[b"HTTP/1.".len()] = b'0' + minor(head.version);
    push_fields(&mut written, bytes, &head.fields);
    let again = response(&written, &WIDE).unwrap().unwrap();
    let facts = |head: &ResponseHead| (head.status, head.version, head.framing, head.keep_alive);
    assert_eq!(facts(&again), facts(head));
    assert_eq!(lines(&written, &again.fields), lines(bytes, &head.fields));
    assert_eq!(again.length, written.len());
}

/// What a body of chunks was read as.
#[derive(Debug, PartialEq)]
struct Body {
    data: Vec<u8>,
    consumed: usize,
    is_done: bool,
}

fn decode<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Body, Fault> {
    let mut reader = ChunkedReader::default();
    let mut body = Body { data: Vec::new(), consumed: 0, is_done: false };
    for piece in pieces {
        let mut buffer = piece.to_vec();
        let decoded = reader.decode(&mut buffer)?;
        assert!(decoded.data <= decoded.consumed && decoded.consumed <= buffer.len(), "{decoded:?}");
        assert!(decoded.done || decoded.consumed == buffer.len(), "{decoded:?} of {}", buffer.len());
        assert_eq!(decoded.done, reader.is_done());
        body.data.extend_from_slice(&buffer[..decoded.data]);
        body.consumed += decoded.consumed;
        body.is_done = decoded.done;
    }
    Ok(body)
}

fn chunks_are_read_alike(bytes: &[u8], seed: u8) {
    let whole = decode([bytes]);
    assert_eq!(decode(cut(bytes, seed)), whole, "in pieces");
    assert_eq!(decode(bytes.chunks(1)), whole, "byte by byte");
    let Ok(Body { data, consumed, is_done: true }) = whole else { return };
    assert_eq!(plainly_decoded(bytes), Some((data.clone(), consumed)));
    let mut written = Vec::new();
    for piece in cut(&data, seed).into_iter().chain([&b""[..]]) {
        let (line, used) = chunk_size_line(piece.len());
        written.extend_from_slice(&line[..used]);
        written.extend_from_slice(piece);
        written.extend_from_slice(b"\r\n");
    }
    let consumed = written.len();
    assert_eq!(decode([&written[..]]), Ok(Body { data, consumed, is_done: true }));
}

/// Chunks as the standard describes them, of a body that lies whole in these bytes: its data, and where it ends.
fn plainly_decoded(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut at) = (Vec::new(), 0);
    let line_at = |at: usize| {
        let length = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        Some((&bytes[at..at + length], at + length + 2))
    };
    loop {
        let (line, after) = line_at(at)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        at = after;
        if size == 0 {
            break;
        }
        data.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        (_, at) = line_at(at + size).filter(|(rest, _)| rest.is_empty())?;
    }
    while let Some((trailer, after)) = line_at(at) {
        at = after;
        if trailer.is_empty() {
            return Some((data, at));
        }
    }
    None
}
