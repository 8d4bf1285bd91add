use drowse_provider_sdk::ErrorCode;

use super::*;

fn read(tty: bool, lines: u32, reply: Reply) -> drowse_provider_sdk::Result<Vec<String>> {
    let test = docker();
    test.expect("engine", INSPECT_WEB, changed(RUNNING, "/Config/Tty", json!(tty)));
    let path = format!("GET /v1.41/containers/{WEB_ID}/logs?stdout=1&stderr=1&tail={lines}");
    test.expect("engine", &path, reply);
    test.logs_of("web", lines)
}

pub(super) fn frame(stream: u8, content: &str) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0], &length[..], content.as_bytes()].concat()
}

#[test]
fn frames_are_decoded_across_piece_boundaries() {
    let stream = [
        frame(2, "err1\n"),
        frame(1, "out1\n"),
        frame(1, ""),
        frame(1, "par"),
        frame(2, "e\n"),
        frame(1, "tial\nrest"),
    ]
    .concat();
    for size in [1, 3, 7, 8, 9, 100] {
        let mut reply = Reply::status(200);
        for piece in stream.chunks(size) {
            reply = reply.body(piece);
        }
        let lines = read(false, 10, reply).unwrap();
        assert_eq!(lines, ["err1", "out1", "e", "partial", "rest"], "pieces of {size}");
    }
}

#[test]
fn terminal_output_is_not_decoded() {
    let reply = Reply::status(200).body("tty1\r\nsec").body("ond\r\n");
    assert_eq!(read(true, 10, reply).unwrap(), ["tty1", "second"]);
}

#[test]
fn lines_are_limited_in_number_and_length() {
    let long = "x".repeat(100_000);
    let stream = [frame(1, "1\n2\n3\n"), frame(1, &long), frame(1, "\n")].concat();
    let lines = read(false, 2, Reply::status(200).body(stream)).unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].as_str(), lines[1].len()), ("3", 8 << 10));
}

#[test]
fn a_stream_without_frames_is_an_error() {
    let error = read(false, 5, Reply::status(200).body("plain text here\n")).unwrap_err();
    assert_eq!(*error.code(), ErrorCode::Internal);
    assert!(error.message().starts_with(r#"read the logs of container "web": "#));
}

#[test]
fn a_log_driver_that_cannot_be_read_is_unsupported() {
    let refusal = refused(501, "configured logging driver does not support reading");
    assert_eq!(*read(false, 5, refusal).unwrap_err().code(), ErrorCode::Unsupported);
}

#[test]
fn fewer_lines_are_requested_if_the_stream_is_too_long() {
    let test = docker();
    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    let path =
        |lines: u32| format!("GET /v1.41/containers/{WEB_ID}/logs?stdout=1&stderr=1&tail={lines}");
    let huge = || {
        let piece = frame(1, &format!("{}\n", "x".repeat(1 << 20)));
        (0..5).fold(Reply::status(200), |reply, _| reply.body(piece.clone())).stays_open()
    };
    test.expect("engine", &path(100), huge());
    test.expect("engine", &path(12), huge());
    test.expect("engine", &path(1), Reply::status(200).body(frame(1, "last\n")));
    assert_eq!(test.logs_of("web", 100).unwrap(), ["last"]);

    test.expect("engine", INSPECT_WEB, recorded(RUNNING));
    test.expect("engine", &path(1), huge());
    assert_eq!(test.logs_of("web", 1).unwrap(), [""; 0], "not even one line can be read");
}

/// Fuzzed; its corpus is replayed.
#[test]
fn fuzzed_frames_are_the_same_lines_wherever_the_pieces_are_cut() {
    bolero::check!().for_each(|stream: &[u8]| {
        let read = |size: usize| {
            let pieces = stream.chunks(size);
            let reply = pieces.fold(Reply::status(200), |reply, piece| reply.body(piece));
            read(false, 10, reply).map_err(|error| error.message().to_owned())
        };
        let whole = read(stream.len().max(1));
        assert_eq!(read(1), whole);
        if let Ok(lines) = whole {
            assert!(lines.len() <= 10 && lines.iter().all(|line| line.len() <= 3 * stream.len()));
        }
    });
}
