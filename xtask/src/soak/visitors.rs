//! The clients of a workload, each with its own behaviour.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::{
    content::Content,
    headers::{RUDE, SEED, now},
    site::{Line, PATIENCE, Site, Upload},
};

/// Chunk size of bodies in bytes.
const PIECE: usize = 16 << 10;

/// Starts all clients of a site.
pub(super) fn begin(site: &Arc<Site>, tasks: &mut JoinSet<()>) {
    tasks.spawn(reader(site.clone()));
    tasks.spawn(reader(site.clone()));
    tasks.spawn(latecomer(site.clone()));
    tasks.spawn(uploader(site.clone()));
    tasks.spawn(downloader(site.clone()));
    tasks.spawn(talker(site.clone()));
    tasks.spawn(rude(site.clone()));
}

/// Sends requests on a keep-alive connection.
async fn reader(site: Arc<Site>) {
    let mut line = Line::new(&site);
    while site.open() {
        site.pause(6.0).await;
        let outcome = hello(&mut line).await;
        site.end("GET", outcome);
    }
}

/// Sends requests around the moment at which the workload goes to sleep.
async fn latecomer(site: Arc<Site>) {
    let mut line = Line::new(&site);
    while site.open() {
        site.quiet().await;
        let outcome = hello(&mut line).await;
        site.end("late GET", outcome);
    }
}

async fn hello(line: &mut Line<'_>) -> Result<()> {
    let request = line.request("/hello").body(empty())?;
    let response = line.ask(request).await?;
    let text = line.text(response).await?;
    ensure!(text == "Hello!\n", "the answer is {text:?}");
    Ok(())
}

/// Uploads bodies of any size, with content length or chunked.
async fn uploader(site: Arc<Site>) {
    let mut line = Line::new(&site);
    while site.open() {
        site.pause(10.0).await;
        let outcome = upload(&mut line).await;
        site.end("upload", outcome);
    }
}

async fn upload(line: &mut Line<'_>) -> Result<()> {
    let (content, length) = (Content { seed: fastrand::u64(..) }, length());
    let whole = content.piece(0, length);
    let body = if fastrand::bool() {
        Full::new(whole).boxed_unsync()
    } else {
        chunked(whole).boxed_unsync()
    };
    let request =
        line.request("/upload").method(Method::POST).header(SEED, content.seed).body(body)?;
    let response = line.ask(request).await?;
    let text = line.text(response).await?;
    ensure!(text.trim() == length.to_string(), "{length} bytes were sent: {text:?}");
    Ok(())
}

/// A body in chunks with short pauses between them.
pub(crate) fn chunked(
    whole: Bytes,
) -> impl http_body::Body<Data = Bytes, Error = std::convert::Infallible> {
    StreamBody::new(stream::unfold(whole, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(Duration::from_millis(fastrand::u64(..3))).await;
        let piece = rest.split_to(PIECE.min(rest.len()));
        Some((Ok(Frame::data(piece)), rest))
    }))
}

/// Downloads bodies of any size, some of them over several idle times.
async fn downloader(site: Arc<Site>) {
    let mut line = Line::new(&site);
    while site.open() {
        site.pause(10.0).await;
        let outcome = download(&site, &mut line).await;
        site.end("download", outcome);
    }
}

async fn download(site: &Site, line: &mut Line<'_>) -> Result<()> {
    let content = Content { seed: fastrand::u64(..) };
    let slow = fastrand::u8(..) < 16;
    let (length, pause) =
        if slow { (5 * PIECE, site.idle.mul_f64(0.6).as_millis()) } else { (length(), 0) };
    let path = format!("/download?bytes={length}&pause={pause}");
    let request = line.request(&path).header(SEED, content.seed).body(empty())?;
    let mut body = line.ask(request).await?.into_body();
    let mut found = 0;
    while let Some(frame) =
        timeout(PATIENCE, body.frame()).await.context("the body does not end")?
    {
        let frame = frame.with_context(|| format!("broke off after {found} of {length}"))?;
        let Some(data) = frame.data_ref() else { continue };
        if let Some(at) = content.first_wrong(found, data) {
            bail!("byte {at} of {length} is wrong");
        }
        found += data.len() as u64;
    }
    ensure!(found == length as u64, "{found} bytes came of {length}");
    Ok(())
}

/// Uses a WebSocket for several idle times.
async fn talker(site: Arc<Site>) {
    while site.open() {
        site.pause(30.0).await;
        let outcome = talk(&site).await;
        site.end("WebSocket", outcome);
    }
}

async fn talk(site: &Site) -> Result<()> {
    let mut socket = open(site, false).await?;
    for _ in 0..fastrand::u8(1..5) {
        sleep(site.idle.mul_f64(1.5 * fastrand::f64())).await;
        echo(&mut socket).await?;
    }
    socket.close(None).await.context("close")?;
    let end = async {
        loop {
            match socket.next().await {
                None => return Ok(()),
                Some(Ok(message)) if message.is_close() => {}
                Some(Ok(message)) => bail!("after the close came {message:?}"),
                Some(Err(tungstenite::Error::ConnectionClosed)) => return Ok(()),
                Some(Err(error)) => return Err(error).context("the close was not answered"),
            }
        }
    };
    timeout(PATIENCE, end).await.context("the close was not answered in time")?
}

async fn open(site: &Site, rude: bool) -> Result<WebSocketStream<TcpStream>> {
    let mut request = format!("ws://{}/echo", site.host).into_client_request()?;
    if rude {
        request.headers_mut().insert(RUDE, 1.into());
    }
    let sent = now();
    let stream = TcpStream::connect(site.router).await.context("connect")?;
    stream.set_nodelay(true)?;
    let opened = timeout(PATIENCE, client_async(request, stream)).await;
    let (socket, response) = match opened.context("timeout")? {
        Ok((socket, response)) => (Some(socket), response.map(drop)),
        Err(tungstenite::Error::Http(response)) => (None, response.map(drop)),
        Err(error) => return Err(error).context("the handshake was not answered"),
    };
    let expected = StatusCode::SWITCHING_PROTOCOLS;
    site.check(response.status(), expected, response.headers(), sent)?;
    socket.context("no WebSocket")
}

async fn echo(socket: &mut WebSocketStream<TcpStream>) -> Result<()> {
    let content = Content { seed: fastrand::u64(..) };
    let message = Message::binary(content.piece(0, fastrand::usize(1..PIECE)));
    socket.send(message.clone()).await.context("send a message")?;
    let answer = timeout(PATIENCE, socket.next()).await.context("no echo in time")?;
    let answer = answer.context("the connection ended instead of the echo")?;
    ensure!(answer.context("no echo")? == message, "the echo differs");
    Ok(())
}

/// Breaks off all of its requests.
async fn rude(site: Arc<Site>) {
    while site.open() {
        site.pause(8.0).await;
        let broken_off = match fastrand::u8(..4) {
            0 => give_up(&site).await,
            1 => cut_download(&site).await,
            2 => cut_upload(&site).await,
            _ => cut_talk(&site).await,
        };
        match broken_off {
            Ok(()) => site.tally.broken_off(),
            // The other side has closed the connection first.
            Err(error) => site.end("broken off request", Err(error)),
        }
    }
}

/// Disconnects before the response.
async fn give_up(site: &Site) -> Result<()> {
    let _stream = begin_request(site, "GET /hello", "").await?;
    sleep(site.idle.mul_f64(fastrand::f64())).await;
    Ok(())
}

/// Disconnects during the response.
async fn cut_download(site: &Site) -> Result<()> {
    let mut stream = begin_request(site, "GET /download?bytes=4000000", "").await?;
    let mut left = fastrand::usize(..500_000);
    let mut buffer = vec![0; PIECE];
    while left > 0 {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await??;
        ensure!(read > 0, "the answer ended at once");
        left = left.saturating_sub(read);
    }
    Ok(())
}

/// Disconnects during the request.
async fn cut_upload(site: &Site) -> Result<()> {
    let length = fastrand::usize(..200_000);
    let more = format!("content-length: {}\r\n", 2 * length + 1);
    let mut stream = begin_request(site, "POST /upload", &more).await?;
    timeout(PATIENCE, stream.write_all(&Content { seed: 0 }.piece(0, length))).await??;
    sleep(site.idle.mul_f64(fastrand::f64())).await;
    Ok(())
}

/// Disconnects without a close frame.
async fn cut_talk(site: &Site) -> Result<()> {
    let mut socket = open(site, true).await?;
    echo(&mut socket).await
}

async fn begin_request(site: &Site, line: &str, more: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(site.router).await?;
    let head = format!("{line} HTTP/1.1\r\nhost: {}\r\n{RUDE}: 1\r\n{more}\r\n", site.host);
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

/// A random body size: mostly small, some larger than buffers.
pub(crate) fn length() -> usize {
    match fastrand::u8(..16) {
        0 => fastrand::usize(..1_000_000),
        1..4 => fastrand::usize(..100_000),
        _ => fastrand::usize(..4_000),
    }
}

pub(crate) fn empty() -> Upload {
    Empty::new().boxed_unsync()
}
