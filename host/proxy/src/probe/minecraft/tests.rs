use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;

/// As a server of 1.21 writes it.
const STATUS: &str = r#"{"version":{"name":"1.21.4","protocol":769},"enforcesSecureChat":true,
    "description":{"text":"A Minecraft Server"},"players":{"max":20,"online":3,"sample":[]}}"#;

/// A server in miniature: it reads the handshake and the request, and answers with these bytes.
/// Returns the host and port that it was asked for.
async fn fake(mut stream: DuplexStream, answer: Vec<u8>) -> (String, u16) {
    let handshake = packet(&mut stream).await;
    let (id, rest) = number(&handshake).unwrap().unwrap();
    let (version, rest) = number(rest).unwrap().unwrap();
    let (length, rest) = number(rest).unwrap().unwrap();
    let (host, rest) = rest.split_at(length as usize);
    assert_eq!((id, version, rest.len()), (0, u32::MAX, 3));
    assert_eq!(rest[2], 1, "the next state is a status");
    assert_eq!(packet(&mut stream).await, [0], "a status request has no content");
    // Piece by piece, as networks may.
    for byte in answer {
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
        if let Some((length, _)) = number(&head).unwrap() {
            break length as usize;
        }
    };
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await.unwrap();
    packet
}

fn answer(json: &str) -> Vec<u8> {
    let mut packet = vec![0];
    put_bytes(&mut packet, json.as_bytes());
    let mut answer = Vec::new();
    put_bytes(&mut answer, &packet);
    answer
}

async fn asked(answer: Vec<u8>) -> (io::Result<Status>, (String, u16)) {
    let (client, server) = tokio::io::duplex(1 << 10);
    let serving = tokio::spawn(fake(server, answer));
    let status = ask(client, "mc.example.org", 25565).await;
    (status, serving.await.unwrap())
}

async fn refusal(answer: Vec<u8>) -> String {
    asked(answer).await.0.unwrap_err().to_string()
}

#[tokio::test]
async fn a_server_is_asked_as_a_client_asks_and_tells_who_is_online() {
    let (status, place) = asked(answer(STATUS)).await;
    assert_eq!(status.unwrap(), Status { players_online: Some(3) });
    assert_eq!(place, ("mc.example.org".to_owned(), 25565));
}

#[tokio::test]
async fn a_status_without_players_is_a_status() {
    for json in ["{}", r#"{"players":{}}"#, r#"{"players":{"online":-1}}"#, r#"{"players":7}"#] {
        let status = asked(answer(json)).await.0.unwrap();
        assert_eq!(status, Status { players_online: None }, "{json}");
    }
}

#[tokio::test]
async fn what_is_no_status_is_named() {
    assert!(refusal(Vec::new()).await.contains("closed the connection without a status"));
    let half = answer(STATUS);
    assert!(refusal(half[..half.len() - 1].to_vec()).await.contains("closed the connection"));
    for json in ["", "[]", "[{\"players\":{\"online\":1}}]", "{\"players\":", "null", "\"{}\""] {
        assert!(refusal(answer(json)).await.contains("no JSON object"), "{json}");
    }
    let mut disconnect = answer(STATUS);
    let number_at = disconnect.len() - STATUS.len() - 3;
    disconnect[number_at] = 1;
    assert!(refusal(disconnect).await.contains("another packet than a status"));
    let other = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    assert!(refusal(other).await.contains("another packet than a status"));
    assert!(refusal(vec![0]).await.contains("another packet than a status"));
}

#[tokio::test]
async fn a_status_longer_than_its_limit_is_refused_when_it_is_announced() {
    let mut announced = Vec::new();
    put_number(&mut announced, PACKET_BYTES as u32 + 1);
    assert!(refusal(announced).await.contains("reasonable length"));
    let fits = format!("{{\"favicon\":\"{}\"}}", "x".repeat(STATUS_BYTES - 14));
    assert_eq!(fits.len(), STATUS_BYTES);
    assert!(asked(answer(&fits)).await.0.is_ok());
}

#[test]
fn a_long_host_is_cut_where_a_letter_ends() {
    let question = question(&"ä".repeat(200), 25565);
    let (_, handshake) = number(&question).unwrap().unwrap();
    let (length, host) = number(&handshake[6..]).unwrap().unwrap();
    assert_eq!(length, 254);
    assert!(std::str::from_utf8(&host[..254]).is_ok());
}

proptest! {
    #[test]
    fn numbers_are_read_as_they_are_written(value: u32, rest: Vec<u8>) {
        let mut bytes = Vec::new();
        put_number(&mut bytes, value);
        for cut in 0..bytes.len() {
            prop_assert_eq!(number(&bytes[..cut]), Ok(None));
        }
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(number(&bytes), Ok(Some((value, &rest[..]))));
    }

    #[test]
    fn whatever_comes_is_waited_for_only_within_bounds(bytes: Vec<u8>) {
        // Never panics; and who waits for more has not got all that there may be.
        if status(&bytes) == Ok(None) {
            prop_assert!(bytes.len() < PACKET_BYTES + NUMBER_BYTES);
        }
    }

    #[test]
    fn a_damaged_status_is_a_status_or_refused(at: usize, with: u8, cut: usize) {
        let mut bytes = answer(STATUS);
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = status(&bytes);
        bytes.truncate(cut % bytes.len());
        let _ = status(&bytes);
    }

    #[test]
    fn bytes_after_the_status_change_nothing(rest: Vec<u8>) {
        let mut bytes = answer(STATUS);
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(status(&bytes), Ok(Some(Status { players_online: Some(3) })));
    }
}

/// To be fuzzed: its corpus is replayed.
#[test]
fn fuzzed_answers_are_a_status_refused_or_waited_for_within_bounds() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if status(bytes) == Ok(None) {
            assert!(bytes.len() < PACKET_BYTES + NUMBER_BYTES);
        }
    });
}
