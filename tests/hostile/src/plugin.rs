//! Handles and the behaviour of `start`:
//!
//! | handle | behaviour |
//! |---|---|
//! | `good:HOST:PORT` | runs with this address; `stop` stops it |
//! | `slow:MS:HOST:PORT` | the same after this many milliseconds, with a progress message |
//! | `hang-in-stop:HOST:PORT` | runs; `stop` never returns |
//! | `loop` | computes for ever without a host call |
//! | `pieces` | computes for ever, with a wait of a nanosecond between the pieces |
//! | `memory` | allocates memory without limit |
//! | `stack` | recurses without limit |
//! | `log` | logs for ever |
//! | `panic` | panics |
//! | `error` | returns an error |
//! | `hang` | waits for ever |
//! | `get:PATH` | `GET PATH` from `engine`; the body is the observation's detail |
//! | `response` | reads `/endless` from `engine` for ever |
//! | `hoard` | keeps responses open without limit |
//! | `ungranted` | calls an endpoint without a grant |
//! | `path:PATH` | `GET PATH` from `engine`, for path tricks |
//! | `authorization` | sets an authorization header |
//! | `command` | runs a program without a grant |
//! | `tell:PATH` | as `get`; the detail is the error, if any |
//! | `header:NAME: VALUE` | `GET /echo` from `engine` with this header |
//! | `body:PATH`, `bodiless:PATH` | `POST PATH` to `engine` with and without a body |
//! | `datagram:ENDPOINT:SIZE` | one datagram of this many bytes |
//! | `labels` | returns an observation with too many labels |

use std::hint::black_box;

use crate::{
    Hostile,
    bindings::{
        drowse::provider::{
            clock, command, events,
            http::{self, Request, Response},
            log, memo,
            types::{
                Abilities, Address, Attribute, Description, EndpointWish, Error, ErrorCode, Event,
                Exit, Health, Observation, Page, RecreateOptions, RemoveOptions, ResourceUsage,
                Status, StopOptions, Target,
            },
            udp,
        },
        exports::drowse::provider::provider::Guest,
    },
};

const FOR_EVER: u64 = u64::MAX;

impl Guest for Hostile {
    fn describe() -> Description {
        Description {
            name: "hostile".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "misbehaves on purpose".into(),
            abilities: Abilities::WATCH,
            endpoints: vec![EndpointWish {
                name: "engine".into(),
                purpose: "to be misused".into(),
                suggested_url: Some("unix:///run/engine.sock".into()),
                rules: [
                    "GET /endless",
                    "GET /containers/*/json",
                    "GET /small",
                    "GET /echo",
                    "GET /held",
                    "POST /*/containers/*/start",
                ]
                .map(str::to_owned)
                .into(),
                optional: true,
                attributes: Vec::new(),
            }],
            commands: Vec::new(),
            networks: Vec::new(),
            settings_schema: r#"{"type":"object"}"#.into(),
            target_schema: r#"{"type":"object"}"#.into(),
            attributes: Vec::new(),
        }
    }

    fn configure(settings: String) -> Result<(), Error> {
        std::panic::set_hook(Box::new(|panic| {
            log::write(log::Level::Error, &panic.to_string(), &[]);
        }));
        memo::set("settings", settings.as_bytes());
        if let Some((_, rest)) = settings.split_once("\"inside\":\"") {
            match rest.split('"').next().unwrap_or_default() {
                "sleep" => clock::sleep(1),
                "spin" => spin(),
                "http" => drop(get("engine", "/small", &[])),
                "command" => drop(command::changes(0)),
                _ => events::synced(),
            }
        }
        if settings.contains("\"refuse\"") {
            return Err(error(ErrorCode::InvalidRequest, "setting \"refuse\" is not welcome"));
        }
        Ok(())
    }

    fn start(target: Target) -> Result<Observation, Error> {
        let handle = target.handle.as_str();
        match handle.split_once(':').unwrap_or((handle, "")) {
            ("good" | "hang-in-stop", _) => {}
            ("slow", rest) => {
                let millis = rest.split(':').next().and_then(|ms| ms.parse::<u64>().ok());
                log::write(log::Level::Info, "half of it is done", &[]);
                clock::sleep(millis.unwrap_or(0) * 1_000_000);
            }
            ("loop", _) => spin(),
            ("pieces", _) => loop {
                black_box((0..5_000_000u64).fold(0, |sum, turn| black_box(sum ^ turn)));
                clock::sleep(1);
            },
            ("memory", _) => hoard_memory(),
            ("hold", mebibytes) => {
                let held = vec![1u8; mebibytes.parse::<usize>().unwrap_or(0) << 20];
                get("engine", "/held", &[])?;
                black_box(held);
            }
            ("stack", _) => {
                black_box(descend(0));
            }
            ("log", _) => loop {
                log::write(log::Level::Info, "spam", &[]);
            },
            ("panic", _) => panic!("no such luck"),
            ("error", _) => return Err(error(ErrorCode::Conflict, "another operation is running")),
            ("hang", _) => loop {
                clock::sleep(FOR_EVER);
            },
            ("get" | "path", path) => {
                let body = read(&get("engine", path, &[])?)?;
                return Ok(Observation {
                    detail: Some(body),
                    ..observation(handle, Status::Running)
                });
            }
            ("response", _) => {
                let response = get("engine", "/endless", &[])?;
                while response.read(1 << 16)?.is_some() {}
            }
            ("hoard", _) => {
                let mut held = Vec::new();
                loop {
                    held.push(get("engine", "/small", &[])?);
                }
            }
            ("tell", path) => {
                let message = get("engine", path, &[]).err().map(|error| error.message);
                return Ok(Observation { detail: message, ..observation(handle, Status::Running) });
            }
            ("header", header) => {
                let (name, value) = header.split_once(": ").unwrap_or((header, ""));
                let body = read(&get("engine", "/echo", &[(name, value)])?)?;
                return Ok(Observation {
                    detail: Some(body),
                    ..observation(handle, Status::Running)
                });
            }
            ("body" | "bodiless", path) => {
                let body = if handle.starts_with("body:") { b"{}".to_vec() } else { Vec::new() };
                http::send(&Request {
                    endpoint: "engine".into(),
                    method: "POST".into(),
                    path: path.into(),
                    headers: Vec::new(),
                    body,
                    timeout_ms: None,
                })?;
            }
            ("labels", _) => {
                let label = |n: usize| Attribute { name: n.to_string(), value: String::new() };
                return Ok(Observation {
                    labels: (0..100_000).map(label).collect(),
                    ..observation(handle, Status::Running)
                });
            }
            ("ungranted", _) => {
                get("nowhere", "/", &[])?;
            }
            ("datagram", rest) => {
                let (endpoint, size) = rest.split_once(':').unwrap_or((rest, ""));
                udp::send(endpoint, &vec![b'x'; size.parse().unwrap_or(0)])?;
            }
            ("authorization", _) => {
                get("engine", "/small", &[("Authorization", "Basic b3duOmtleQ==")])?;
            }
            ("command", _) => {
                command::spawn(&command::SpawnOptions {
                    command: "sh".into(),
                    arguments: vec!["-c".into(), "id".into()],
                    environment: Vec::new(),
                })?;
            }
            (other, _) => return Err(error(ErrorCode::NotFound, &format!("no misdeed {other:?}"))),
        }
        memo::set(handle, b"running");
        Ok(observation(handle, Status::Running))
    }

    fn stop(target: Target, _: StopOptions) -> Result<Observation, Error> {
        while target.handle.starts_with("hang-in-stop") {
            clock::sleep(FOR_EVER);
        }
        memo::delete(&target.handle);
        Ok(observation(&target.handle, Status::Stopped))
    }

    fn pause(_: Target) -> Result<Observation, Error> {
        unsupported()
    }

    fn resume(_: Target) -> Result<Observation, Error> {
        unsupported()
    }

    fn kill(_: Target, _: Option<String>) -> Result<Observation, Error> {
        unsupported()
    }

    fn status(target: Target) -> Result<Observation, Error> {
        if target.handle == "emitted" {
            let emitted = memo::get("emitted").unwrap_or_default();
            return Ok(Observation {
                detail: Some(String::from_utf8_lossy(&emitted).into_owned()),
                ..observation(&target.handle, Status::Running)
            });
        }
        let runs = memo::get(&target.handle).is_some();
        let status = if runs { Status::Running } else { Status::Stopped };
        Ok(observation(&target.handle, status))
    }

    fn list(_: Option<String>) -> Result<Page, Error> {
        unsupported()
    }

    fn watch() -> Result<(), Error> {
        let settings = memo::get("settings").unwrap_or_default();
        let settings = String::from_utf8_lossy(&settings);
        let is = |word: &str| settings.contains(&format!("\"watch\":\"{word}\""));
        events::synced();
        if is("trap") {
            panic!("watching is boring");
        }
        if is("unsupported") {
            return unsupported();
        }
        while is("resync") {
            events::synced();
        }
        if is("error") {
            return Err(error(ErrorCode::Unavailable, "the platform is away"));
        }
        let mut emitted = 0u64;
        loop {
            emitted += 1;
            memo::set("emitted", emitted.to_string().as_bytes());
            let observation = observation("good:127.0.0.1:1", Status::Running);
            events::emit(&Event { observation, at: clock::now(), attributes: Vec::new() });
            if !is("flood") {
                clock::sleep(FOR_EVER);
            }
        }
    }

    fn recreate(_: Target, _: RecreateOptions) -> Result<Observation, Error> {
        unsupported()
    }

    fn fetch(_: Target) -> Result<(), Error> {
        unsupported()
    }

    fn remove(_: Target, _: RemoveOptions) -> Result<(), Error> {
        unsupported()
    }

    fn logs(_: Target, _: u32) -> Result<Vec<String>, Error> {
        unsupported()
    }

    /// Returns too much output, or waits for ever.
    fn exec(target: Target, command: Vec<String>) -> Result<Exit, Error> {
        while target.handle.starts_with("hang") {
            clock::sleep(FOR_EVER);
        }
        let line = |number: usize| format!("{number}\u{1b}[31m{}", "x".repeat(8 << 10));
        let output = (0..1000).map(line).collect();
        let status = i32::try_from(command.len()).unwrap_or(i32::MAX);
        Ok(Exit { status, output, attributes: Vec::new() })
    }

    /// Returns invalid numbers.
    fn usage(target: Target) -> Result<ResourceUsage, Error> {
        let cpu = match target.handle.as_str() {
            "endless" => f64::INFINITY,
            "negative" => -1.0,
            "good" => 12.5,
            _ => f64::NAN,
        };
        Ok(ResourceUsage { cpu_percent: Some(cpu), memory: Some(u64::MAX), attributes: Vec::new() })
    }
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn hoard_memory() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1u8; 1 << 20]));
    }
}

#[allow(unconditional_recursion)]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    descend(depth + 1) + frame[0]
}

fn get(endpoint: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response, Error> {
    let headers = headers
        .iter()
        .map(|(name, value)| Attribute { name: (*name).to_owned(), value: (*value).to_owned() });
    http::send(&Request {
        endpoint: endpoint.into(),
        method: "GET".into(),
        path: path.into(),
        headers: headers.collect(),
        body: Vec::new(),
        timeout_ms: None,
    })
}

fn read(response: &Response) -> Result<String, Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.read(1 << 16)? {
        body.extend(piece);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The address is the last two parts of a handle such as `good:HOST:PORT`.
fn observation(handle: &str, status: Status) -> Observation {
    let mut parts = handle.rsplitn(3, ':');
    let port = parts.next().and_then(|port| port.parse().ok());
    let host = parts.next().filter(|_| parts.next().is_some());
    let reached = matches!(status, Status::Running);
    let address = host.zip(port).filter(|_| reached).map(|(host, port)| Address {
        host: host.to_owned(),
        port: Some(port),
        target_port: None,
        attributes: Vec::new(),
    });
    Observation {
        handle: handle.to_owned(),
        native_status: if reached { "up".into() } else { "down".into() },
        native_id: None,
        status,
        health: Health::None,
        addresses: address.into_iter().collect(),
        labels: Vec::new(),
        detail: None,
        attributes: Vec::new(),
    }
}

fn unsupported<T>() -> Result<T, Error> {
    Err(error(ErrorCode::Unsupported, "not even that"))
}

fn error(code: ErrorCode, message: &str) -> Error {
    Error { code, message: message.to_owned(), attributes: Vec::new() }
}
