//! Lists of CIDR blocks, and the longest-prefix map behind `peer` stanzas.
//!
//! Both look an address up once per distinct prefix length, so ten thousand blocks cost what a few lengths cost.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::address::parse_ip;
use crate::tree::Value;
use crate::types::{OptionType, Shape};

/// Parses `address` or `address/length`; host bits are dropped.
pub(crate) fn parse_net(text: &str) -> Result<IpNet, String> {
    let not_a_block = |why: String| format!("`{text}` is not a CIDR block: {why}");
    let Some((address, digits)) = text.split_once('/') else {
        let ip = parse_ip(text).map_err(|problem| format!("{problem}{}", range_hint(text)))?;
        return Ok(IpNet::from(ip));
    };
    let ip = parse_ip(address).map_err(|problem| not_a_block(format!("{problem}{}", completed(address, digits))))?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length = match digits.parse::<u8>() {
        Ok(length) if length <= most => length,
        // An IPv4-mapped address became IPv4; the length counted the 96 bits before it.
        Ok(length @ 96..=128) if address.contains(':') && ip.is_ipv4() => length - 96,
        _ => {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let hint = netmask_length(digits).map_or(String::new(), |length| format!("; write `{address}/{length}`"));
            return Err(not_a_block(format!("an {family} prefix length is a number from 0 to {most}{hint}")));
        }
    };
    IpNet::new(ip, length).map(|net| net.trunc()).map_err(|problem| not_a_block(problem.to_string()))
}

/// The prefix length of a mask such as 255.255.255.0.
fn netmask_length(mask: &str) -> Option<u32> {
    let bits = u32::from(mask.parse::<Ipv4Addr>().ok()?);
    (bits.leading_ones() + bits.trailing_zeros() == 32 || bits == 0).then(|| bits.leading_ones())
}

/// `10.1/16` was meant as `10.1.0.0/16`.
fn completed(address: &str, digits: &str) -> String {
    let begun = address.trim_end_matches('.');
    let missing = 3usize.saturating_sub(begun.matches('.').count());
    let whole = format!("{begun}{}", ".0".repeat(missing));
    match missing > 0 && whole.parse::<Ipv4Addr>().is_ok() {
        true => format!("; did you mean `{whole}/{digits}`?"),
        false => String::new(),
    }
}

fn range_hint(text: &str) -> &'static str {
    let range =
        text.split_once('-').is_some_and(|(from, to)| parse_ip(from.trim()).is_ok() && parse_ip(to.trim()).is_ok());
    if range { "; a range is written as CIDR blocks, such as `192.0.2.0/28`" } else { "" }
}

/// Values under CIDR blocks, found from the longest prefix down.
#[derive(Clone, Debug)]
pub(crate) struct NetMap<V> {
    by_length: Vec<(u8, HashMap<IpNet, V>)>,
}

impl<V> Default for NetMap<V> {
    fn default() -> Self {
        NetMap { by_length: Vec::new() }
    }
}

impl<V> NetMap<V> {
    pub fn insert(&mut self, net: IpNet, value: V) {
        let length = net.prefix_len();
        let at = self.by_length.partition_point(|(other, _)| *other > length);
        if self.by_length.get(at).is_none_or(|(other, _)| *other != length) {
            self.by_length.insert(at, (length, HashMap::new()));
        }
        self.by_length[at].1.insert(net, value);
    }

    /// The values of every block that holds `ip`, longest prefix first.
    pub fn matches(&self, ip: IpAddr) -> impl Iterator<Item = &V> {
        let ip = ip.to_canonical();
        self.by_length.iter().filter_map(move |(length, nets)| {
            let net = IpNet::new(ip, *length).ok()?;
            nets.get(&net.trunc())
        })
    }

    pub fn is_empty(&self) -> bool {
        self.by_length.is_empty()
    }
}

/// A list of CIDR blocks, such as `relay_hosts`.
#[derive(Clone, Debug, Default)]
pub struct IpNets {
    nets: Vec<IpNet>,
    map: NetMap<()>,
}

impl PartialEq for IpNets {
    /// The map is made of the blocks.
    fn eq(&self, other: &Self) -> bool {
        self.nets == other.nets
    }
}

impl IpNets {
    /// Whether some block holds `ip`; an IPv4-mapped address counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.map.matches(ip).next().is_some()
    }

    /// The blocks in file order.
    pub fn nets(&self) -> &[IpNet] {
        &self.nets
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

impl FromIterator<IpNet> for IpNets {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let mut list = IpNets::default();
        for net in nets {
            list.map.insert(net.trunc(), ());
            list.nets.push(net);
        }
        list
    }
}

impl OptionType for IpNets {
    const EXPECTED: &'static str = "an array of addresses and CIDR blocks, ( \"127.0.0.0/8\" \"::1\" )";
    const SHAPE: Shape = Shape::Array;
    fn parse(value: &Value) -> Result<Self, String> {
        let elements =
            value.elements().ok_or_else(|| format!("expected {}, found {}", Self::EXPECTED, value.shape()))?;
        elements.iter().map(|element| parse_net(&element.text())).collect()
    }
    fn unset() -> Option<Self> {
        Some(IpNets::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_prefix_comes_first() {
        let mut map = NetMap::default();
        for block in ["10.0.0.0/8", "10.1.2.3", "10.1.0.0/16", "::/0"] {
            map.insert(parse_net(block).expect("a valid block"), block);
        }
        let found: Vec<_> = map.matches("10.1.2.3".parse().expect("ip")).copied().collect();
        assert_eq!(found, ["10.1.2.3", "10.1.0.0/16", "10.0.0.0/8"]);
        let mapped: Vec<_> = map.matches("::ffff:10.1.9.9".parse().expect("ip")).copied().collect();
        assert_eq!(mapped, ["10.1.0.0/16", "10.0.0.0/8"]);
    }

    #[test]
    fn a_bad_block_says_what_is_allowed() {
        assert_eq!(
            parse_net("192.0.2.0/33").unwrap_err(),
            "`192.0.2.0/33` is not a CIDR block: an IPv4 prefix length is a number from 0 to 32"
        );
        let told = |text: &str| parse_net(text).unwrap_err();
        assert!(
            told("192.0.2/24").contains("four numbers") && told("192.0.2/24").ends_with("did you mean `192.0.2.0/24`?")
        );
        assert!(told("10./8").ends_with("did you mean `10.0.0.0/8`?"));
        assert!(told("192.0.2.0/255.255.255.128").ends_with("; write `192.0.2.0/25`"));
        assert!(told("192.0.2.0/255.0.255.0").ends_with("from 0 to 32"));
        assert!(told("192.0.2.1-192.0.2.9").contains("written as CIDR blocks"));
        assert!(told("2001:db8::/129").ends_with("an IPv6 prefix length is a number from 0 to 128"));
    }

    #[test]
    fn spellings_of_one_block_agree() {
        let block = |text: &str| parse_net(text).map(|net| net.to_string());
        assert_eq!(block("192.0.2.9/24"), block("192.0.2.0/24"));
        assert_eq!(block("192.0.2.7"), Ok("192.0.2.7/32".to_owned()));
        assert_eq!(block("2001:DB8:0::/32"), Ok("2001:db8::/32".to_owned()));
        assert_eq!(block("[2001:db8::1]"), Ok("2001:db8::1/128".to_owned()));
        assert_eq!(block("::ffff:192.0.2.0/120"), Ok("192.0.2.0/24".to_owned()));
        assert_eq!(block("::ffff:192.0.2.7"), Ok("192.0.2.7/32".to_owned()));
    }
}
