//! Lists of CIDR blocks, and the longest-prefix map behind `peer` stanzas.
//!
//! Both look an address up once per distinct prefix length, so ten thousand blocks cost what a few lengths cost.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::tree::Value;
use crate::types::OptionType;

/// Parses `address` or `address/length`; host bits are dropped.
pub(crate) fn parse_net(text: &str) -> Result<IpNet, String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let ip = crate::address::parse_ip(address).map_err(|problem| match length {
        Some(_) => format!("`{text}` is not a CIDR block: {problem}"),
        None => problem,
    })?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(digits) => match digits.parse::<u8>() {
            Ok(length) if length <= most => length,
            _ => {
                let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                return Err(format!(
                    "`{text}` is not a CIDR block: an {family} prefix length is a number from 0 to {most}"
                ));
            }
        },
    };
    IpNet::new(ip, length).map(|net| net.trunc()).map_err(|problem| format!("`{text}` is not a CIDR block: {problem}"))
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
        assert!(parse_net("192.0.2/24").unwrap_err().contains("four numbers"));
    }
}
