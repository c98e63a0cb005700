//! Where a request comes from (security rule E15, failure model C24): from its connection's peer; or, where that is a trusted
//! proxy, from the right-most hop of X-Forwarded-For or Forwarded (RFC 7239) that is none. What stands further left was written
//! by whoever wanted to.
//!
//! Where the hop that decides cannot be read (`unknown`, `_hidden`, garbage), the origin is unknown. Taking the proxy's own address
//! for it would let strangers in wherever the proxy stands within an allowed network, so that such a request is in no list that
//! allows, and in every one that denies. The same holds where both fields are there and disagree: a proxy writes one of them and
//! may pass the other on from its client, and which is which nobody here can tell.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berry_vocab::Nets;

/// The address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This one; an IPv4 address is never mapped into IPv6.
    Known(IpAddr),
    /// A trusted proxy speaks for it, and does not say.
    Unknown,
}

impl Origin {
    /// The origin of a request with these fields, on a connection from `peer`.
    pub fn of<'f>(peer: IpAddr, trusted: &Nets, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Self {
        let peer = peer.to_canonical();
        if !trusted.contains(peer) {
            return Origin::Known(peer);
        }
        let (mut listed, mut described) = (Hops { trusted, origin: None }, Hops { trusted, origin: None });
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(b"x-forwarded-for") {
                value.split(|&b| b == b',').for_each(|hop| listed.pass(node(hop)));
            } else if name.eq_ignore_ascii_case(b"forwarded") {
                split_outside_quotes(value, b',').for_each(|hop| described.pass(forwarded_for(hop)));
            }
        }
        match (listed.origin, described.origin) {
            // Then it asks for itself.
            (None, None) => Origin::Known(peer),
            (Some(origin), None) | (None, Some(origin)) => origin,
            (Some(one), Some(other)) if one == other => one,
            _ => Origin::Unknown,
        }
    }

    /// The address, where it is known.
    pub fn known(self) -> Option<IpAddr> {
        match self {
            Origin::Known(ip) => Some(ip),
            Origin::Unknown => None,
        }
    }

    /// Whether a list lets it in; an empty one lets everybody in.
    pub(crate) fn is_allowed_by(self, list: &Nets) -> bool {
        list.is_empty() || matches!(self, Origin::Known(ip) if list.contains(ip))
    }

    /// Whether a list keeps it out.
    pub(crate) fn is_denied_by(self, list: &Nets) -> bool {
        match self {
            Origin::Known(ip) => list.contains(ip),
            Origin::Unknown => !list.is_empty(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Known(ip) => ip.fmt(f),
            Origin::Unknown => f.write_str("unknown"),
        }
    }
}

/// What the hops of one field come to, from left to right.
struct Hops<'t> {
    trusted: &'t Nets,
    origin: Option<Origin>,
}

impl Hops<'_> {
    fn pass(&mut self, hop: Option<IpAddr>) {
        self.origin = Some(match (hop, self.origin) {
            // A proxy of ours: what it was told counts.
            (Some(ip), Some(before)) if self.trusted.contains(ip) => before,
            (Some(ip), _) => Origin::Known(ip),
            (None, _) => Origin::Unknown,
        });
    }
}

/// The address in an element of Forwarded: that of its one `for`. All of its pairs must be well-formed: a quote that a client has
/// left open would take in what the proxy wrote behind it.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in split_outside_quotes(element, b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_at(pair.iter().position(|&b| b == b'=')?);
        let value = unquoted(value.get(1..)?)?;
        if !name.iter().all(|b| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(b)) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
    }
    node(found?)
}

/// What a value says: a text without quotes, or one within quotes that holds none.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return (!value.contains(&b'"')).then_some(value);
    };
    let mut is_escaped = false;
    let is_whole = inner.iter().all(|&b| {
        let was_escaped = is_escaped;
        is_escaped = b == b'\\' && !was_escaped;
        was_escaped || b != b'"'
    });
    (is_whole && !is_escaped).then_some(inner)
}

/// The address that a hop names: IPv4, IPv6 with or without brackets, and behind IPv4 or brackets perhaps a port.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (
                IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?),
                if port.is_empty() { None } else { Some(port.strip_prefix(':')?) },
            )
        }
        None => {
            let (ip, port) = text.split_once(':')?;
            (IpAddr::V4(ip.parse::<Ipv4Addr>().ok()?), Some(port))
        }
    };
    port.is_none_or(is_port).then(|| ip.to_canonical())
}

/// A number, or a name in its place (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn split_outside_quotes(text: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |&b| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        is_escaped = is_quoted && b == b'\\';
        is_quoted ^= b == b'"';
        !is_quoted && b == at
    })
}

#[cfg(test)]
mod tests {
    use berry_vocab::Net;

    use super::*;

    const PROXIES: [&str; 3] = ["10.0.0.0/8", "fd00::/8", "127.0.0.1"];

    /// The origin of a request that came from a peer with field lines.
    fn origin(peer: &str, lines: &[(&str, &str)]) -> String {
        let trusted: Nets = PROXIES.iter().filter_map(|net| Net::parse(net)).collect();
        let fields = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Origin::of(peer.parse().unwrap(), &trusted, fields).to_string()
    }

    #[test]
    fn a_peer_that_is_no_proxy_of_ours_speaks_for_itself() {
        for peer in ["203.0.113.9", "2001:db8::9", "11.0.0.1"] {
            for lines in [&[][..], &[("x-forwarded-for", "1.2.3.4")], &[("forwarded", "for=1.2.3.4")]] {
                assert_eq!(origin(peer, lines), peer);
            }
        }
        assert_eq!(origin("::ffff:203.0.113.9", &[("x-forwarded-for", "1.2.3.4")]), "203.0.113.9");
    }

    #[test]
    fn the_right_most_hop_that_is_no_proxy_of_ours_is_the_client() {
        for (hops, client) in [
            ("203.0.113.9", "203.0.113.9"),
            ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
            ("1.2.3.4,203.0.113.9,10.0.0.2", "203.0.113.9"),
            ("10.0.0.9, 203.0.113.9 , 10.0.0.2, fd00::2", "203.0.113.9"),
            ("garbage, 203.0.113.9", "203.0.113.9"),
            (", , 203.0.113.9", "203.0.113.9"),
            ("127.0.0.1, 203.0.113.9", "203.0.113.9"),
            // Within our own networks, the first of them asked.
            ("10.0.0.7, 10.0.0.2", "10.0.0.7"),
            ("10.0.0.7", "10.0.0.7"),
            // As proxies write addresses.
            ("203.0.113.9:51234", "203.0.113.9"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("[2001:db8::9]:443", "2001:db8::9"),
            ("2001:DB8:0::9", "2001:db8::9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:1", "203.0.113.9"),
            ("1.2.3.4, ::ffff:10.0.0.2", "1.2.3.4"),
        ] {
            assert_eq!(origin("10.0.0.1", &[("X-Forwarded-For", hops)]), client, "{hops}");
            assert_eq!(origin("::ffff:10.0.0.1", &[("x-forwarded-for", hops)]), client, "{hops}");
        }
    }

    #[test]
    fn who_stands_behind_a_hop_that_cannot_be_read_is_unknown() {
        for hops in [
            "",
            "unknown",
            "_hidden",
            "unix:",
            "1.2.3.4, garbage",
            "1.2.3.4, unknown, 10.0.0.2",
            "1.2.3.4,",
            "1.2.3.4, , 10.0.0.2",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.4/32",
            "1.2.3.4:",
            "1.2.3.4:port",
            "1.2.3.4:123456",
            "1.2.3.4 5.6.7.8",
            "[1.2.3.4]",
            "[::1",
            "[::1]80",
            "fe80::1%eth0",
            "\"1.2.3.4\"",
            "\u{ff11}.2.3.4",
        ] {
            assert_eq!(origin("10.0.0.1", &[("x-forwarded-for", hops)]), "unknown", "{hops:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        for (value, client) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("For=\"203.0.113.9\"", "203.0.113.9"),
            ("for=\"203.0.113.9:51234\";proto=https;by=10.0.0.1", "203.0.113.9"),
            ("for=\"[2001:db8::9]:4711\"", "2001:db8::9"),
            ("for=\"[2001:db8::9]:_port\"", "2001:db8::9"),
            ("proto=https; FOR=203.0.113.9 ;host=\"a;b,c\"", "203.0.113.9"),
            ("for=1.2.3.4, for=203.0.113.9, for=10.0.0.2", "203.0.113.9"),
            ("for=1.2.3.4;host=\"x, for=6.6.6.6\", for=203.0.113.9", "203.0.113.9"),
            ("host=\"\\\", for=6.6.6.6\", for=203.0.113.9", "203.0.113.9"),
            ("for=unknown, for=203.0.113.9", "203.0.113.9"),
            ("for=unknown", "unknown"),
            ("for=_SEVKISEK", "unknown"),
            ("for=\"_gazonk:1\"", "unknown"),
            ("for=1.2.3.4, for=_hidden, for=10.0.0.2", "unknown"),
            ("proto=https", "unknown"),
            ("for=1.2.3.4, proto=https", "unknown"),
            ("for=1.2.3.4;for=203.0.113.9", "unknown"),
            ("for=\"1.2.3.4", "unknown"),
            ("for=\"1.2.3.4, for=203.0.113.9", "unknown"),
            // A quote that the client left open, before what the proxy wrote behind it.
            ("for=1.2.3.4;x=\", for=203.0.113.9", "unknown"),
            ("for=1.2.3.4;x=\"a, for=\"203.0.113.9\"", "unknown"),
            ("for=1.2.3.4;x=\"a\\, for=\"203.0.113.9\";proto=\"https\"", "unknown"),
            ("for=1.2.3.4;\", for=203.0.113.9", "unknown"),
            ("for=1.2.3.4;x=\"a\";;host=b;", "1.2.3.4"),
            ("for=1.2.3.4;x", "unknown"),
            ("for = 1.2.3.4", "unknown"),
            ("fort=1.2.3.4", "unknown"),
            ("1.2.3.4", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(origin("10.0.0.1", &[("forwarded", value)]), client, "{value}");
        }
    }

    #[test]
    fn several_lines_are_one_list_in_their_order() {
        let lines =
            [("x-forwarded-for", "1.2.3.4"), ("accept", "5.5.5.5"), ("X-FORWARDED-FOR", "203.0.113.9, 10.0.0.2")];
        assert_eq!(origin("10.0.0.1", &lines), "203.0.113.9");
        let lines = [("forwarded", "for=203.0.113.9"), ("forwarded", "for=10.0.0.2")];
        assert_eq!(origin("10.0.0.1", &lines), "203.0.113.9");
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "unknown")];
        assert_eq!(origin("10.0.0.1", &lines), "unknown");
    }

    #[test]
    fn a_proxy_without_a_word_asks_for_itself_and_two_words_must_agree() {
        assert_eq!(origin("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(origin("::ffff:10.0.0.1", &[("x-real-ip", "1.2.3.4")]), "10.0.0.1");
        for (described, client) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("for=203.0.113.9, for=fd00::2", "203.0.113.9"),
            ("for=1.2.3.4", "unknown"),
        ] {
            let lines = [("x-forwarded-for", "203.0.113.9"), ("forwarded", described)];
            assert_eq!(origin("10.0.0.1", &lines), client, "{described}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_client_writes_the_hop_that_our_proxy_adds_decides(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "for=6.6.6.6", "6.6.6.6", "for=10.0.0.9", "unknown", ";x=", "=", "\"", "\\", ",", ";", " ", "a", "[::1]", ":80",
                ]),
                0..12,
            ),
        ) {
            let written = pieces.concat();
            for (name, added) in [
                ("x-forwarded-for", "203.0.113.9"),
                ("forwarded", "for=203.0.113.9"),
                ("forwarded", "for=\"203.0.113.9:80\";proto=\"https\""),
            ] {
                // On a line of the proxy's own.
                proptest::prop_assert_eq!(origin("10.0.0.1", &[(name, &written), (name, added)]), "203.0.113.9");
                // Behind what the client wrote: a quote that it left open hides it, and that is no way in.
                let told = origin("10.0.0.1", &[(name, &format!("{written}, {added}"))]);
                proptest::prop_assert!(told == "203.0.113.9" || (name == "forwarded" && told == "unknown"), "{}", told);
            }
        }
    }

    #[test]
    fn an_unknown_origin_is_in_no_list_that_allows_and_in_every_one_that_denies() {
        let (none, some): (Nets, Nets) = (Nets::default(), Net::parse("0.0.0.0/0").into_iter().collect());
        assert!(Origin::Unknown.is_allowed_by(&none) && !Origin::Unknown.is_allowed_by(&some));
        assert!(!Origin::Unknown.is_denied_by(&none) && Origin::Unknown.is_denied_by(&some));
        let known = Origin::Known([1, 2, 3, 4].into());
        assert!(known.is_allowed_by(&none) && known.is_allowed_by(&some));
        assert!(!known.is_denied_by(&none) && known.is_denied_by(&some));
    }
}
