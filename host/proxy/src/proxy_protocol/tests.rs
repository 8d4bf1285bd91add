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
    let mut buffer = vec![0; MAX_LENGTH];
    let length = match version {
        1 => header.encode_to_slice_v1(&mut buffer),
        _ => header.encode_to_slice_v2(&mut buffer),
    };
    buffer.truncate(length.unwrap());
    buffer
}

/// Feeds bytes in pieces of these lengths, as a socket would. Returns the source and the bytes that
/// were left.
fn feed(bytes: &[u8], pieces: &[usize]) -> Result<(Option<ProxySource>, Vec<u8>), InvalidHeader> {
    let mut reader = HeaderReader::default();
    let (mut at, mut pieces) = (0, pieces.iter().copied().cycle());
    while at < bytes.len() {
        let piece = pieces.next().unwrap_or(usize::MAX).clamp(1, bytes.len() - at);
        let (taken, source) = reader.take(&bytes[at..at + piece])?;
        at += taken;
        if source.is_some() {
            return Ok((source, bytes[at..].to_vec()));
        }
        assert_eq!(taken, piece, "an incomplete header takes every byte");
        assert!(reader.header.len() <= MAX_LENGTH);
    }
    Ok((None, Vec::new()))
}

fn whole(bytes: &[u8]) -> Result<(Option<ProxySource>, Vec<u8>), InvalidHeader> {
    feed(bytes, &[usize::MAX])
}

#[test]
fn both_versions_are_read_and_the_bytes_after_them_are_left() {
    let source = Some(ProxySource::Client("192.0.2.1:4711".parse().unwrap()));
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 80\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(whole(line), Ok((source, b"GET / HTTP/1.1\r\n\r\n".to_vec())));
    let mut binary = SIGNATURE.to_vec();
    binary.extend([0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0, 80]);
    binary.extend(b"\r\nrest");
    assert_eq!(whole(&binary), Ok((source, b"\r\nrest".to_vec())));
}

#[test]
fn the_addresses_of_a_local_connection_are_discarded() {
    for block in [&[0x11, 0, 0][..], &[0x00, 0, 0], &[0x21, 0, 3, 1, 2, 3], &[0xff, 0, 1, 0]] {
        let mut binary = SIGNATURE.to_vec();
        binary.push(LOCAL);
        binary.extend(block);
        binary.extend(b"rest");
        assert_eq!(whole(&binary), Ok((Some(ProxySource::Local), b"rest".to_vec())), "{block:?}");
    }
}

#[test]
fn extensions_are_skipped() {
    let mut binary = SIGNATURE.to_vec();
    binary.extend([0x21, 0x11, 0, 19, 192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 0, 80]);
    binary.extend([0x04, 0, 4, 1, 2, 3, 4]);
    binary.extend(b"GET");
    let source = ProxySource::Client("192.0.2.1:4711".parse().unwrap());
    assert_eq!(whole(&binary), Ok((Some(source), b"GET".to_vec())));
}

#[test]
fn unknown_and_local_connections_have_no_client() {
    assert_eq!(whole(b"PROXY UNKNOWN\r\nGET"), Ok((Some(ProxySource::Local), b"GET".to_vec())));
    let unknown = b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n";
    assert_eq!(whole(unknown), Ok((Some(ProxySource::Local), Vec::new())));
    let mut local = SIGNATURE.to_vec();
    local.extend([0x20, 0, 0, 0]);
    assert_eq!(whole(&local), Ok((Some(ProxySource::Local), Vec::new())));
}

#[test]
fn invalid_headers_are_refused_at_the_first_wrong_byte() {
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
        assert_eq!(whole(wrong), Err(InvalidHeader), "{:?}", String::from_utf8_lossy(wrong));
    }
    let unterminated = [b"PROXY ", &[b'x'; 200][..]].concat();
    assert_eq!(whole(&unterminated), Err(InvalidHeader));
    for (command, family, length) in
        [(0x31, 0x11, 12), (0x21, 0x11, 4), (0x21, 0x12, 12), (0x21, 0x99, 12)]
    {
        let mut binary = SIGNATURE.to_vec();
        binary.extend([command, family, 0, length]);
        binary.extend(vec![0; usize::from(length)]);
        assert_eq!(whole(&binary), Err(InvalidHeader), "{command:x} {family:x} {length}");
    }
    let huge = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    assert_eq!(whole(&huge), Err(InvalidHeader), "before its content has arrived");
}

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let four = (any::<[u8; 4]>(), any::<u16>(), any::<[u8; 4]>(), any::<u16>())
        .prop_map(|(a, p, b, q)| (SocketAddr::new(a.into(), p), SocketAddr::new(b.into(), q)));
    let six = (any::<[u16; 8]>(), any::<u16>(), any::<[u16; 8]>(), any::<u16>())
        .prop_map(|(a, p, b, q)| (SocketAddr::new(a.into(), p), SocketAddr::new(b.into(), q)));
    prop_oneof![four, six]
}

/// Bytes similar enough to a header to reach every branch.
fn similar_bytes() -> impl Strategy<Value = Vec<u8>> {
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
    fn a_proxys_header_is_read_however_it_is_split(
        (client, destination) in addresses(),
        second: bool,
        rest: Vec<u8>,
        pieces in prop::collection::vec(1usize..40, 1..10),
    ) {
        let header = if second { header_2 } else { header_1 };
        let bytes = [header(client, destination), rest.clone()].concat();
        let (source, left) = feed(&bytes, &pieces).unwrap();
        prop_assert_eq!(source, Some(ProxySource::Client(client)));
        // Bytes in the same piece are left too.
        prop_assert_eq!(left, rest);
    }

    #[test]
    fn any_bytes_have_one_result_however_they_are_split(
        bytes in similar_bytes(),
        pieces in prop::collection::vec(1usize..40, 1..10),
    ) {
        let at_once = whole(&bytes);
        prop_assert_eq!(&feed(&bytes, &pieces), &at_once);
        if let Ok((Some(_), left)) = at_once {
            prop_assert!(bytes.ends_with(&left) && left.len() < bytes.len());
        }
    }
}

/// A fuzz target; a plain test run replays its corpus.
#[test]
fn fuzzed_bytes_have_one_result_however_they_are_split() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let at_once = whole(bytes);
        assert_eq!(feed(bytes, &[1]), at_once);
        assert_eq!(feed(bytes, &[7, 1, 40]), at_once);
        if let Ok((Some(_), left)) = at_once {
            assert!(bytes.ends_with(&left) && left.len() < bytes.len());
        }
    });
}
