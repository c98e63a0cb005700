//! A set of networks, and whether an address lies in it. Kept as ranges in order, so that a list of thousands costs a handful of
//! comparisons. An IPv4 address and the same one mapped into IPv6 are one address here; `::/0` is all of IPv6, and not of IPv4.

use std::fmt;
use std::net::IpAddr;

/// Networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nets {
    v4: Vec<Range>,
    v6: Vec<Range>,
}

/// One network, as `10.0.0.0/8`, `2001:db8::/32` or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    address: IpAddr,
    /// Bits of the address that count.
    length: u8,
}

/// Its first and its last address.
type Range = (u128, u128);

// === impl Nets ===

impl Nets {
    /// Whether no address lies in it.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether the address lies in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ranges, number) = match address.to_canonical() {
            IpAddr::V4(ip) => (&self.v4, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (&self.v6, ip.to_bits()),
        };
        let after = ranges.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| number <= *last)
    }

    /// Whether every address of `other` lies in it.
    pub fn covers(&self, other: &Nets) -> bool {
        let cover = |ours: &[Range], theirs: &[Range]| {
            theirs.iter().all(|(first, last)| ours.iter().any(|(from, to)| from <= first && last <= to))
        };
        cover(&self.v4, &other.v4) && cover(&self.v6, &other.v6)
    }

    /// Whether any address lies in both.
    pub fn overlaps(&self, other: &Nets) -> bool {
        let meet = |ours: &[Range], theirs: &[Range]| {
            theirs.iter().any(|(first, last)| ours.iter().any(|(from, to)| from <= last && first <= to))
        };
        meet(&self.v4, &other.v4) || meet(&self.v6, &other.v6)
    }
}

impl FromIterator<Net> for Nets {
    fn from_iter<I: IntoIterator<Item = Net>>(nets: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net.address {
                IpAddr::V4(_) => v4.push(net.range()),
                IpAddr::V6(_) => v6.push(net.range()),
            }
        }
        Self { v4: joined(v4), v6: joined(v6) }
    }
}

/// In order, and those that meet made one.
fn joined(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut all: Vec<Range> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match all.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => all.push((first, last)),
        }
    }
    all
}

// === impl Net ===

impl Net {
    /// Reads an address, or a network in CIDR notation.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            // A sign or a leading zero is nothing that people write.
            Some(text) if text == "0" || !text.starts_with(['0', '+']) => text.parse().ok().filter(|n| *n <= bits)?,
            Some(_) => return None,
        };
        Some(match address.to_canonical() {
            // Mapped: what is left of the 96 bits in front is the whole of IPv4's.
            canonical if canonical != address && length >= 96 => Self { address: canonical, length: length - 96 },
            _ => Self { address, length },
        })
    }

    /// Whether bits stand in the address that do not count.
    pub fn has_loose_bits(&self) -> bool {
        self.range().0 != self.number()
    }

    fn number(&self) -> u128 {
        match self.address {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        }
    }

    fn range(&self) -> Range {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        let all = if bits == 32 { u128::from(u32::MAX) } else { u128::MAX };
        let loose = all.checked_shr(u32::from(self.length)).unwrap_or(0);
        let first = self.number() & (all ^ loose);
        (first, first | loose)
    }
}

impl fmt::Display for Net {
    /// Without the bits that do not count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.range().0;
        match self.address {
            IpAddr::V4(_) => write!(f, "{}/{}", std::net::Ipv4Addr::from_bits(first as u32), self.length),
            IpAddr::V6(_) => write!(f, "{}/{}", std::net::Ipv6Addr::from_bits(first), self.length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Nets {
        texts.iter().map(|text| Net::parse(text).unwrap_or_else(|| panic!("{text}"))).collect()
    }

    #[test]
    fn an_address_lies_in_a_network_by_its_leading_bits() {
        for (net, inside, outside) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], &["9.255.255.255", "11.0.0.0"][..]),
            ("10.1.2.3", &["10.1.2.3"], &["10.1.2.2", "10.1.2.4"]),
            ("10.1.2.3/32", &["10.1.2.3"], &["10.1.2.4"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::1", "2001:db8::1"]),
            ("::/0", &["::1", "ffff::", "2001:db8::1"], &["127.0.0.1", "::ffff:127.0.0.1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db7:ffff::", "2001:db9::"]),
            ("::1", &["::1"], &["::2", "0.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.9.9.9", "::ffff:10.9.9.9"], &["11.0.0.0"]),
            ("::ffff:10.0.0.1", &["10.0.0.1"], &["10.0.0.2"]),
        ] {
            let nets = nets(&[net]);
            assert!(inside.iter().all(|ip| nets.contains(ip.parse().unwrap())), "{net} {inside:?}");
            assert!(!outside.iter().any(|ip| nets.contains(ip.parse().unwrap())), "{net} {outside:?}");
        }
        assert!(nets(&[]).is_empty() && !nets(&[]).contains([10, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_no_network_is_not_read() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "::/129",
            "a",
            "1.2.3.4:80",
            "/8",
        ] {
            assert_eq!(Net::parse(text), None, "{text}");
        }
    }

    #[test]
    fn many_networks_are_one_set_whatever_their_order() {
        let set = nets(&["10.2.0.0/16", "192.168.0.0/16", "10.0.0.0/15", "10.2.3.0/24", "::1", "10.3.0.0/16"]);
        assert_eq!(set.v4, nets(&["10.0.0.0/14", "192.168.0.0/16"]).v4);
        for (ip, is_in) in
            [("10.3.255.255", true), ("10.4.0.0", false), ("192.168.1.1", true), ("::1", true), ("::", false)]
        {
            assert_eq!(set.contains(ip.parse().unwrap()), is_in, "{ip}");
        }
        assert!(set.covers(&nets(&["10.1.0.0/15", "::1"])) && !set.covers(&nets(&["10.0.0.0/8"])));
        assert!(set.overlaps(&nets(&["10.0.0.0/8"])) && !set.overlaps(&nets(&["172.16.0.0/12", "::2"])));
        assert!(set.covers(&nets(&[])) && !set.overlaps(&nets(&[])));
    }

    #[test]
    fn bits_that_do_not_count_are_seen_and_left_out() {
        for (text, shown) in
            [("10.1.2.3/8", "10.0.0.0/8"), ("2001:db8::1/32", "2001:db8::/32"), ("1.2.3.4/0", "0.0.0.0/0")]
        {
            let net = Net::parse(text).unwrap();
            assert!(net.has_loose_bits(), "{text}");
            assert_eq!(net.to_string(), shown);
        }
        for text in ["10.0.0.0/8", "10.1.2.3", "::/0", "::1"] {
            assert!(!Net::parse(text).unwrap().has_loose_bits(), "{text}");
        }
    }
}
