//! Magic packets of Wake-on-LAN.

use std::fmt;

/// Six bytes: a MAC address, or the card's password (SecureOn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SixBytes(pub(crate) [u8; 6]);

/// The magic packet: six bytes `ff`, sixteen times the card's address, and the password if there is
/// one.
pub(crate) fn magic(card: SixBytes, password: Option<SixBytes>) -> Vec<u8> {
    let mut packet = vec![0xff; 6];
    packet.extend(card.0.repeat(16));
    packet.extend(password.iter().flat_map(|password| password.0));
    packet
}

// === impl SixBytes ===

impl SixBytes {
    /// Parses `00:11:22:aa:bb:cc`, `00-11-22-aa-bb-cc`, `0011.22aa.bbcc` or `001122aabbcc`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let groups: Vec<&str> = text.split([':', '-', '.']).collect();
        let digits = match groups.len() {
            6 => 2,
            3 => 4,
            1 => 12,
            _ => return None,
        };
        let plain = |group: &&str| {
            group.len() == digits && group.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        if !groups.iter().all(plain) {
            return None;
        }
        let number = u64::from_str_radix(&groups.concat(), 16).ok()?;
        let [0, 0, bytes @ ..] = number.to_be_bytes() else { return None };
        Some(Self(bytes))
    }

    /// Returns whether it is a multicast or broadcast address.
    pub(crate) fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for SixBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: SixBytes = SixBytes([0x00, 0x11, 0x22, 0xaa, 0xbb, 0xcc]);

    #[test]
    fn common_notations_of_an_address_are_parsed() {
        for text in ["00:11:22:aa:BB:cc", "00-11-22-AA-BB-CC", "0011.22aa.bbcc", "001122aabbcc"] {
            assert_eq!(SixBytes::parse(text), Some(CARD), "{text}");
        }
        assert_eq!(CARD.to_string(), "00:11:22:aa:bb:cc");
    }

    #[test]
    fn an_invalid_address_is_none() {
        for text in [
            "",
            "nas",
            "00:11:22:aa:bb",
            "00:11:22:aa:bb:c",
            "00:11:22:aa:bb:cc:dd",
            "00:11:22:aa:bb:+c",
            "001122aabbc",
            "0011.22aa.bbc",
        ] {
            assert_eq!(SixBytes::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_packet_is_six_times_ff_sixteen_times_the_card_and_the_password() {
        let packet = magic(CARD, None);
        assert_eq!(packet.len(), 102);
        assert_eq!(packet[..6], [0xff; 6]);
        assert!(packet[6..].chunks(6).all(|chunk| chunk == CARD.0));
        let locked = magic(CARD, Some(SixBytes([1, 2, 3, 4, 5, 6])));
        assert_eq!(locked[..102], packet);
        assert_eq!(locked[102..], [1, 2, 3, 4, 5, 6]);
    }
}
