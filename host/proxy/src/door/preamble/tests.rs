use proptest::prelude::*;
use proxy_header::ProxiedAddress;

use super::*;

fn header_1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    encoded(ProxyHeader::with_address(ProxiedAddress::stream(source, destination)), 1)
}

fn header_2(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    encoded(ProxyHeader::with_address(ProxiedAddress::stream(source, destination)), 2)
}

fn encoded(header: ProxyHeader<'_>, version: u8) -> Vec<u8> {
    let mut buffer = vec![0; LONGEST];
    let length = match version {
        1 => header.encode_to_slice_v1(&mut buffer),
        _ => header.encode_to_slice_v2(&mut buffer),
    };
    buffer.truncate(length.unwrap());
    buffer
}

/// Feeds bytes in pieces of these lengths, as a socket would, and answers what the preamble said
/// and what was left.
fn feed(bytes: &[u8], pieces: &[usize]) -> Result<(Option<Said>, Vec<u8>), NoPreamble> {
    let mut preamble = Preamble::default();
    let (mut at, mut pieces) = (0, pieces.iter().copied().cycle());
    while at < bytes.len() {
        let piece = pieces.next().unwrap_or(usize::MAX).clamp(1, bytes.len() - at);
        let (taken, said) = preamble.take(&bytes[at..at + piece])?;
        at += taken;
        if said.is_some() {
            return Ok((said, bytes[at..].to_vec()));
        }
        assert_eq!(taken, piece, "an unfinished preamble takes everything");
        assert!(preamble.held.len() <= LONGEST);
    }
    Ok((None, Vec::new()))
}

fn whole(bytes: &[u8]) -> Result<(Option<Said>, Vec<u8>), NoPreamble> {
    feed(bytes, &[usize::MAX])
}

#[test]
fn both_versions_are_read_and_what_follows_is_left() {
    let said = Some(Said::Client("192.0.2.1:4711".parse().unwrap()));
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(whole(line), Ok((said, b"GET / HTTP/1.1\r\n\r\n".to_vec())));
    let mut binary = SIGNATURE.to_vec();
    binary.extend([0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0, 80]);
    binary.extend(b"\r\nrest");
    assert_eq!(whole(&binary), Ok((said, b"\r\nrest".to_vec())));
}

#[test]
fn of_a_proxy_that_speaks_for_itself_nothing_else_is_read() {
    for block in [&[0x11, 0, 0][..], &[0x00, 0, 0], &[0x21, 0, 3, 1, 2, 3], &[0xff, 0, 1, 0]] {
        let mut binary = SIGNATURE.to_vec();
        binary.push(LOCAL);
        binary.extend(block);
        binary.extend(b"rest");
        assert_eq!(whole(&binary), Ok((Some(Said::Nobody), b"rest".to_vec())), "{block:?}");
    }
}

#[test]
fn extensions_are_passed_over() {
    let mut binary = SIGNATURE.to_vec();
    binary.extend([0x21, 0x11, 0, 19, 192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0, 80]);
    binary.extend([0x04, 0, 4, 1, 2, 3, 4]);
    binary.extend(b"GET");
    let said = Said::Client("192.0.2.1:4711".parse().unwrap());
    assert_eq!(whole(&binary), Ok((Some(said), b"GET".to_vec())));
}

#[test]
fn a_proxy_may_speak_for_itself() {
    assert_eq!(whole(b"PROXY UNKNOWN\r\nGET"), Ok((Some(Said::Nobody), b"GET".to_vec())));
    let unknown = b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n";
    assert_eq!(whole(unknown), Ok((Some(Said::Nobody), Vec::new())));
    let mut local = SIGNATURE.to_vec();
    local.extend([0x20, 0, 0, 0]);
    assert_eq!(whole(&local), Ok((Some(Said::Nobody), Vec::new())));
}

#[test]
fn what_is_no_preamble_is_refused_as_soon_as_it_shows() {
    for wrong in [
        &b"G"[..],
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\nGET",
        b"PROXY\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.1 4711 80\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 80\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.1 4711 80\r\n",
    ] {
        assert_eq!(whole(wrong), Err(NoPreamble), "{:?}", String::from_utf8_lossy(wrong));
    }
    let endless = [b"PROXY ", &[b'x'; 200][..]].concat();
    assert_eq!(whole(&endless), Err(NoPreamble));
    for (command, family, length) in
        [(0x31, 0x11, 12), (0x21, 0x11, 4), (0x21, 0x12, 12), (0x21, 0x99, 12)]
    {
        let mut binary = SIGNATURE.to_vec();
        binary.extend([command, family, 0, length]);
        binary.extend(vec![0; usize::from(length)]);
        assert_eq!(whole(&binary), Err(NoPreamble), "{command:x} {family:x} {length}");
    }
    let huge = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    assert_eq!(whole(&huge), Err(NoPreamble), "before any of it has come");
}

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let four = (any::<[u8; 4]>(), any::<u16>(), any::<[u8; 4]>(), any::<u16>())
        .prop_map(|(a, p, b, q)| (SocketAddr::new(a.into(), p), SocketAddr::new(b.into(), q)));
    let six = (any::<[u16; 8]>(), any::<u16>(), any::<[u16; 8]>(), any::<u16>())
        .prop_map(|(a, p, b, q)| (SocketAddr::new(a.into(), p), SocketAddr::new(b.into(), q)));
    prop_oneof![four, six]
}

/// Bytes near enough to a preamble to reach every branch.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let begin = prop_oneof![
        Just(SIGNATURE.to_vec()),
        Just(b"PROXY TCP4 ".to_vec()),
        Just(b"PROXY TCP6 ::1 ".to_vec()),
        Just(b"PROXY UNKNOWN".to_vec()),
        Just([SIGNATURE, &[0x21, 0x21, 0]].concat()),
        Just(Vec::new()),
    ];
    (begin, prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(begin, rest)| [begin, rest].concat())
}

proptest! {
    #[test]
    fn what_a_proxy_writes_is_read_however_it_arrives(
        (source, destination) in addresses(),
        second: bool,
        rest: Vec<u8>,
        pieces in prop::collection::vec(1usize..40, 1..10),
    ) {
        let header = if second { header_2 } else { header_1 };
        let bytes = [header(source, destination), rest.clone()].concat();
        let (said, left) = feed(&bytes, &pieces).unwrap();
        prop_assert_eq!(said, Some(Said::Client(source)));
        // What came in the same piece is left too.
        prop_assert_eq!(left, rest);
    }

    #[test]
    fn any_bytes_are_read_refused_or_waited_for_and_always_the_same_way(
        bytes in nearly(),
        pieces in prop::collection::vec(1usize..40, 1..10),
    ) {
        let at_once = whole(&bytes);
        prop_assert_eq!(&feed(&bytes, &pieces), &at_once);
        if let Ok((Some(_), left)) = at_once {
            prop_assert!(bytes.ends_with(&left) && left.len() < bytes.len());
        }
    }
}

/// To be fuzzed: its corpus is replayed.
#[test]
fn fuzzed_bytes_are_read_the_same_way_however_they_arrive() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let at_once = whole(bytes);
        assert_eq!(feed(bytes, &[1]), at_once);
        assert_eq!(feed(bytes, &[7, 1, 40]), at_once);
        if let Ok((Some(_), left)) = at_once {
            assert!(bytes.ends_with(&left) && left.len() < bytes.len());
        }
    });
}
