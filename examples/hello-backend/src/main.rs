//! A small HTTP backend with a configurable start time.
//!
//! `hello-backend --port 8001 --boot 1000 --starts FILE` sleeps for 1,000 milliseconds before it
//! opens its port, like a program that loads data first, and appends a line to FILE at each start,
//! with its process id and the nanoseconds since the epoch, to count its starts. With `--until
//! FILE` it opens its port only when that file exists.
//!
//! `GET /` returns a greeting, `GET /slow?seconds=5` a response over five seconds, `POST` and `PUT`
//! the length of their body.

#![forbid(unsafe_code)]

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Command-line options.
struct Options {
    port: u16,
    boot: Duration,
    until: Option<String>,
    starts: Option<String>,
}

/// Data of the greeting.
struct Hello {
    starts: usize,
    awake: Instant,
}

/// The parsed part of a request.
struct Request {
    method: String,
    path: String,
    length: u64,
    keep_alive: bool,
}

fn main() -> io::Result<()> {
    let options = Options::parse(env::args().skip(1)).unwrap_or_else(|problem| {
        eprintln!(
            "{problem}\nusage: hello-backend --port PORT [--boot MILLISECONDS] [--until FILE] \
             [--starts FILE]"
        );
        process::exit(2);
    });
    let starts = match &options.starts {
        Some(file) => count_start(file)?,
        None => 1,
    };
    println!("start {starts}: process {} boots for {:?}", process::id(), options.boot);
    thread::sleep(options.boot);
    while options.until.as_ref().is_some_and(|file| !Path::new(file).exists()) {
        thread::sleep(Duration::from_millis(5));
    }
    let listener = TcpListener::bind(("127.0.0.1", options.port))?;
    println!("listens on {}", listener.local_addr()?);

    let hello = Arc::new(Hello { starts, awake: Instant::now() });
    for stream in listener.incoming() {
        let (stream, hello) = (stream?, Arc::clone(&hello));
        thread::spawn(move || {
            // A client that disconnects early must not affect the others.
            let _ = hello.serve(stream);
        });
    }
    Ok(())
}

fn count_start(file: &str) -> io::Result<usize> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let line = format!("{} {}\n", process::id(), now.as_nanos());
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())?;
    Ok(fs::read_to_string(file)?.lines().count())
}

// === impl Options ===

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { port: 0, boot: Duration::ZERO, until: None, starts: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
            let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
            match name.as_str() {
                "--port" => options.port = number()?,
                "--boot" => options.boot = Duration::from_millis(number()?.into()),
                "--until" => options.until = Some(value),
                "--starts" => options.starts = Some(value),
                _ => return Err(format!("{name}: not an option")),
            }
        }
        match options.port {
            0 => Err("--port is missing".to_owned()),
            _ => Ok(options),
        }
    }
}

// === impl Hello ===

impl Hello {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(request) = Request::read(&mut reader)? {
            self.answer(&request, &mut reader, &mut writer)?;
            if !request.keep_alive {
                break;
            }
        }
        Ok(())
    }

    fn answer(
        &self,
        request: &Request,
        reader: &mut impl Read,
        writer: &mut impl Write,
    ) -> io::Result<()> {
        let got = io::copy(&mut reader.take(request.length), &mut io::sink())?;
        if let Some(seconds) = request.path.strip_prefix("/slow?seconds=") {
            return slow(seconds.parse().unwrap_or(1), writer);
        }
        let body = match request.method.as_str() {
            "POST" | "PUT" => format!("got {got} bytes\n"),
            _ => format!(
                "Hello! Process {} answers, start {}, awake for {:.1} s.\n",
                process::id(),
                self.starts,
                self.awake.elapsed().as_secs_f64(),
            ),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n",
            body.len(),
        );
        let body = if request.method == "HEAD" { "" } else { &body };
        writer.write_all(&[head.as_bytes(), body.as_bytes()].concat())
    }
}

/// Sends ten lines a second in a chunked body.
fn slow(seconds: u64, writer: &mut impl Write) -> io::Result<()> {
    writer.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    for line in 0..seconds * 10 {
        let line = format!("line {line}\n");
        write!(writer, "{:x}\r\n{line}\r\n", line.len())?;
        writer.flush()?;
        thread::sleep(Duration::from_millis(100));
    }
    writer.write_all(b"0\r\n\r\n")
}

// === impl Request ===

impl Request {
    /// None if the client sends no further request.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        // Limits the size of the head.
        let mut head = reader.take(64 << 10);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            length: 0,
            keep_alive: words.next() == Some("HTTP/1.1"),
        };
        loop {
            let mut line = String::new();
            if head.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Some(request));
            };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                request.length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
            if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
                request.keep_alive = false;
            }
        }
    }
}
