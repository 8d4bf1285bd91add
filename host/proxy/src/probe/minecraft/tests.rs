use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;

/// The status of a 1.21 server.
const STATUS: &str = r#"{"version":{"name":"1.21.4","protocol":769},"enforcesSecureChat":true,
    "description":{"text":"A Minecraft Server"},"players":{"max":20,"online":3,"sample":[]}}"#;

/// A fake server: reads the handshake and the request, and responds with these bytes. Returns the
/// host and port of the handshake.
async fn fake(mut stream: DuplexStream, response: Vec<u8>) -> (String, u16) {
    let handshake = packet(&mut stream).await;
    let (id, rest) = varint(&handshake).unwrap().unwrap();
    let (version, rest) = varint(rest).unwrap().unwrap();
    let (length, rest) = varint(rest).unwrap().unwrap();
    let (host, rest) = rest.split_at(length as usize);
    assert_eq!((id, version, rest.len()), (0, u32::MAX, 3));
    assert_eq!(rest[2], 1, "the next state is a status");
    assert_eq!(packet(&mut stream).await, [0], "a status request has no content");
    // One byte at a time, as a network may deliver them.
    for byte in response {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    (String::from_utf8(host.to_vec()).unwrap(), u16::from_be_bytes([rest[0], rest[1]]))
}

async fn packet(stream: &mut DuplexStream) -> Vec<u8> {
    let mut head = Vec::new();
    let length = loop {
        head.push(stream.read_u8().await.unwrap());
        if let Some((length, _)) = varint(&head).unwrap() {
            break length as usize;
        }
    };
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await.unwrap();
    packet
}

fn response(json: &str) -> Vec<u8> {
    let mut packet = vec![0];
    put_bytes(&mut packet, json.as_bytes());
    let mut response = Vec::new();
    put_bytes(&mut response, &packet);
    response
}

async fn probe(response: Vec<u8>) -> (io::Result<Status>, (String, u16)) {
    let (client, server) = tokio::io::duplex(1 << 10);
    let serving = tokio::spawn(fake(server, response));
    let status = request_status(client, "mc.example.org", 25565).await;
    (status, serving.await.unwrap())
}

async fn error(response: Vec<u8>) -> String {
    probe(response).await.0.unwrap_err().to_string()
}

#[tokio::test]
async fn the_status_of_a_server_contains_its_player_count() {
    let (status, address) = probe(response(STATUS)).await;
    assert_eq!(status.unwrap(), Status { players_online: Some(3) });
    assert_eq!(address, ("mc.example.org".to_owned(), 25565));
}

#[tokio::test]
async fn a_status_without_players_is_valid() {
    for json in ["{}", r#"{"players":{}}"#, r#"{"players":{"online":-1}}"#, r#"{"players":7}"#] {
        let status = probe(response(json)).await.0.unwrap();
        assert_eq!(status, Status { players_online: None }, "{json}");
    }
}

#[tokio::test]
async fn an_invalid_response_is_an_error_with_the_reason() {
    assert!(error(Vec::new()).await.contains("closed the connection without a status"));
    let half = response(STATUS);
    assert!(error(half[..half.len() - 1].to_vec()).await.contains("closed the connection"));
    for json in ["", "[]", "[{\"players\":{\"online\":1}}]", "{\"players\":", "null", "\"{}\""] {
        assert!(error(response(json)).await.contains("not a JSON object"), "{json}");
    }
    let mut disconnect = response(STATUS);
    let id_at = disconnect.len() - STATUS.len() - 3;
    disconnect[id_at] = 1;
    assert!(error(disconnect).await.contains("another packet than a status"));
    let other = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    assert!(error(other).await.contains("another packet than a status"));
    assert!(error(vec![0]).await.contains("another packet than a status"));
}

#[tokio::test]
async fn an_oversized_status_is_refused_by_its_announced_length() {
    let mut announced = Vec::new();
    put_varint(&mut announced, MAX_PACKET_BYTES as u32 + 1);
    assert!(error(announced).await.contains("valid length"));
    let fits = format!("{{\"favicon\":\"{}\"}}", "x".repeat(MAX_STATUS_BYTES - 14));
    assert_eq!(fits.len(), MAX_STATUS_BYTES);
    assert!(probe(response(&fits)).await.0.is_ok());
}

#[test]
fn a_long_host_is_truncated_at_a_character_boundary() {
    let request = request(&"ä".repeat(200), 25565);
    let (_, handshake) = varint(&request).unwrap().unwrap();
    let (length, host) = varint(&handshake[6..]).unwrap().unwrap();
    assert_eq!(length, 254);
    assert!(std::str::from_utf8(&host[..254]).is_ok());
}

proptest! {
    #[test]
    fn varints_round_trip(value: u32, rest: Vec<u8>) {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        for cut in 0..bytes.len() {
            prop_assert_eq!(varint(&bytes[..cut]), Ok(None));
        }
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(varint(&bytes), Ok(Some((value, &rest[..]))));
    }

    #[test]
    fn the_bytes_buffered_for_any_response_are_bounded(bytes: Vec<u8>) {
        // An incomplete status is shorter than the maximum.
        if parse_status(&bytes) == Ok(None) {
            prop_assert!(bytes.len() < MAX_PACKET_BYTES + MAX_VARINT_BYTES);
        }
    }

    #[test]
    fn a_damaged_status_is_parsed_or_refused(at: usize, with: u8, cut: usize) {
        let mut bytes = response(STATUS);
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = parse_status(&bytes);
        bytes.truncate(cut % bytes.len());
        let _ = parse_status(&bytes);
    }

    #[test]
    fn bytes_after_the_status_are_ignored(rest: Vec<u8>) {
        let mut bytes = response(STATUS);
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(parse_status(&bytes), Ok(Some(Status { players_online: Some(3) })));
    }
}

/// Fuzz target; `cargo test` replays its corpus.
#[test]
fn fuzzed_responses_are_parsed_or_refused_within_bounds() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if parse_status(bytes) == Ok(None) {
            assert!(bytes.len() < MAX_PACKET_BYTES + MAX_VARINT_BYTES);
        }
    });
}
