#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use drowse_core::{Generation, Phase, ProviderName, WorkloadName};
use tokio::sync::oneshot;

use super::*;
use crate::client::{Client, ClientError};

/// Knows one workload, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<(String, Option<Duration>)>>,
}

fn blog() -> WorkloadStatus {
    WorkloadStatus {
        name: WorkloadName::parse("n1/104").unwrap(),
        provider: ProviderName::parse("pve").unwrap(),
        target: "n1/104".to_owned(),
        phase: Phase::Ready,
        generation: Generation(3),
        visits: 1,
        waiting: 0,
        phase_seconds: 4.5,
        sleeps_in_seconds: None,
        failure: None,
        observed: None,
    }
}

#[async_trait]
impl Control for Scripted {
    fn status(&self) -> RouterStatus {
        RouterStatus {
            version: "0.1.0".to_owned(),
            pid: 7,
            uptime_seconds: 1.0,
            configuration: vec!["drowse.toml".into()],
            listeners: Vec::new(),
            providers: Vec::new(),
            workloads: vec![blog()],
        }
    }

    async fn wake(&self, name: &str, wait: Option<Duration>) -> Result<WorkloadStatus, Failure> {
        self.asked.lock().unwrap().push((name.to_owned(), wait));
        match name {
            "n1/104" => Ok(blog()),
            _ => Err(Failure::new(ErrorCode::NotFound, "there is no such workload")),
        }
    }

    async fn sleep(&self, _: &str, _: Option<Duration>) -> Result<WorkloadStatus, Failure> {
        Err(Failure::new(ErrorCode::Timeout, "still stopping after 1 s"))
    }
}

/// A client of a router that lives as long as the test.
struct Fixture {
    client: Client,
    control: Arc<Scripted>,
    end: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    directory: tempfile::TempDir,
    socket: std::path::PathBuf,
}

impl Fixture {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&directory.path().join("control.sock")).unwrap();
        let path = socket.path().to_owned();
        let client = Client::new(&path);
        let control = Arc::new(Scripted::default());
        let (end, ended) = oneshot::channel();
        let served = tokio::spawn(serve(socket, control.clone(), async {
            ended.await.ok();
        }));
        Self { client, control, end, served, directory, socket: path }
    }
}

#[tokio::test]
async fn a_status_comes_back_as_it_was_given() {
    let fixture = Fixture::start();
    let status = fixture.client.status().await.unwrap();
    assert_eq!((status.pid, status.workloads.len()), (7, 1));
    assert_eq!(status.workloads[0].generation, Generation(3));
}

#[tokio::test]
async fn a_name_with_slashes_and_a_wait_reach_the_control() {
    let fixture = Fixture::start();
    let wait = Some(Duration::from_millis(1500));
    let status = fixture.client.wake("n1/104", wait).await.unwrap();
    assert_eq!(status.phase, Phase::Ready);
    assert_eq!(*fixture.control.asked.lock().unwrap(), [("n1/104".to_owned(), wait)]);
}

#[tokio::test]
async fn a_failure_comes_back_with_its_code_and_its_words() {
    let fixture = Fixture::start();
    let Err(ClientError::Refused(problem)) = fixture.client.wake("wiki", None).await else {
        panic!("it was let in")
    };
    assert_eq!((problem.status, &problem.code), (404, &ErrorCode::NotFound));
    assert_eq!(problem.detail, "there is no such workload");
    let Err(ClientError::Refused(problem)) = fixture.client.sleep("wiki", None).await else {
        panic!("it was let in")
    };
    assert_eq!((problem.status, problem.code), (504, ErrorCode::Timeout));
}

#[tokio::test]
async fn when_the_router_ends_the_socket_is_gone_and_the_client_says_so() {
    let Fixture { client, end, served, directory, .. } = Fixture::start();
    end.send(()).unwrap();
    served.await.unwrap().unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
    assert!(error.to_string().contains("drowse run"));
}

#[tokio::test]
async fn a_path_or_method_that_is_not_there_is_a_problem_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fixture = Fixture::start();
    for (head, status) in [("GET /v0/nothing", "404"), ("DELETE /v0/status", "405")] {
        let mut stream = tokio::net::UnixStream::connect(&fixture.socket).await.unwrap();
        let request = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains(r#""code":""#), "{answer}");
    }
}

#[test]
fn a_wait_is_a_number_of_seconds_within_reason() {
    assert_eq!(wait(None).unwrap(), None);
    assert_eq!(wait(Some("wait=60")).unwrap(), Some(Duration::from_secs(60)));
    assert_eq!(wait(Some("wait=0.5")).unwrap(), Some(Duration::from_millis(500)));
    for query in ["wait=", "wait=-1", "wait=NaN", "wait=1e300", "wait=3601", "wiat=1", "wait=1m"] {
        assert_eq!(wait(Some(query)).unwrap_err().code, ErrorCode::InvalidRequest, "{query}");
    }
}
