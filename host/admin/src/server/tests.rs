#![allow(clippy::unwrap_used)]

use std::{
    sync::{Mutex, OnceLock},
    time::{Duration, SystemTime},
};

use drowse_core::{
    Correlation, Generation, OperationKind, Phase, ProviderName, Trigger, WorkloadName,
};
use tokio::sync::oneshot;

use super::*;
use crate::client::{Client, ClientError};

/// A control with one workload, which records the requests.
#[derive(Default)]
struct FakeControl {
    requests: Mutex<Vec<(String, OperationRequest)>>,
    changes: OnceLock<broadcast::Sender<PhaseChange>>,
}

fn blog() -> WorkloadStatus {
    WorkloadStatus {
        name: WorkloadName::parse("n1/104").unwrap(),
        provider: ProviderName::parse("pve").unwrap(),
        target: "n1/104".to_owned(),
        phase: Phase::Ready,
        light: false,
        generation: Generation(3),
        stage: None,
        progress: None,
        visits: 1,
        waiting: 0,
        held: 0,
        unrequested: false,
        needs: Vec::new(),
        pool: None,
        phase_seconds: 4.5,
        sleeps_in_seconds: None,
        expected_seconds: None,
        veto: None,
        failure: None,
        observed: None,
    }
}

fn woken() -> Entry {
    Entry {
        correlation: Correlation::random(),
        workload: WorkloadName::parse("n1/104").unwrap(),
        generation: Generation(3),
        provider: ProviderName::parse("pve").unwrap(),
        kind: OperationKind::Wake,
        trigger: Trigger::Request,
        reference: None,
        native_before: None,
        native_after: None,
        image: None,
        failure: None,
        began: SystemTime::UNIX_EPOCH,
        ended: SystemTime::now(),
    }
}

/// A request of the command line.
fn request(action: Action, wait: Option<Duration>) -> OperationRequest {
    OperationRequest { action, wait, trigger: Trigger::Cli }
}

#[async_trait]
impl Control for FakeControl {
    fn status(&self) -> RouterStatus {
        RouterStatus {
            version: "0.1.0".to_owned(),
            pid: 7,
            uptime_seconds: 1.0,
            configuration: vec!["drowse.toml".into()],
            listeners: Vec::new(),
            providers: Vec::new(),
            workloads: vec![blog()],
            pools: Vec::new(),
        }
    }

    fn workload(&self, name: &str) -> Result<WorkloadStatus, Failure> {
        match name {
            "n1/104" => Ok(blog()),
            _ => Err(Failure::new(ErrorCode::NotFound, "there is no such workload")),
        }
    }

    async fn operate(
        &self,
        name: &str,
        request: OperationRequest,
    ) -> Result<WorkloadStatus, Failure> {
        self.requests.lock().unwrap().push((name.to_owned(), request));
        match (request.action, name) {
            (Action::Sleep { .. }, _) => {
                Err(Failure::new(ErrorCode::Timeout, "still stopping after 1 s"))
            }
            _ => self.workload(name),
        }
    }

    fn operations(&self, workload: Option<&str>, limit: usize) -> Result<Vec<Entry>, Failure> {
        match workload {
            None | Some("n1/104") => Ok(vec![woken(); limit]),
            Some(_) => Err(Failure::new(ErrorCode::NotFound, "there is no such workload")),
        }
    }

    fn changes(&self) -> broadcast::Receiver<PhaseChange> {
        self.changes.get_or_init(|| broadcast::Sender::new(2)).subscribe()
    }
}

/// A server and its client, for the duration of a test.
struct Fixture {
    client: Client,
    control: Arc<FakeControl>,
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
        let control = Arc::new(FakeControl::default());
        let (end, ended) = oneshot::channel();
        let served = tokio::spawn(serve(socket, control.clone(), async {
            ended.await.ok();
        }));
        Self { client, control, end, served, directory, socket: path }
    }
}

#[tokio::test]
async fn the_status_reaches_the_client_unchanged() {
    let fixture = Fixture::start();
    let status = fixture.client.status().await.unwrap();
    assert_eq!((status.pid, status.workloads.len()), (7, 1));
    assert_eq!(status.workloads[0].generation, Generation(3));
    let workload = fixture.client.workload("n1/104").await.unwrap();
    assert_eq!(workload.name.as_str(), "n1/104");
    let unknown = fixture.client.workload("wiki").await.unwrap_err();
    assert!(matches!(unknown, ClientError::Refused(problem) if problem.status == 404));
}

#[tokio::test]
async fn a_name_with_slashes_and_a_wait_reach_the_control() {
    let fixture = Fixture::start();
    let wait = Some(Duration::from_millis(1500));
    let wake = request(Action::Wake, wait);
    let status = fixture.client.operate("n1/104", wake).await.unwrap();
    assert_eq!(status.phase, Phase::Ready);
    assert_eq!(*fixture.control.requests.lock().unwrap(), [("n1/104".to_owned(), wake)]);
}

#[tokio::test]
async fn a_failure_reaches_the_client_with_code_and_message() {
    let fixture = Fixture::start();
    let [wake, sleep, ..] = Action::ALL.map(|action| request(action, None));
    let Err(ClientError::Refused(problem)) = fixture.client.operate("wiki", wake).await else {
        panic!("the request must fail")
    };
    assert_eq!((problem.status, &problem.code), (404, &ErrorCode::NotFound));
    assert_eq!(problem.detail, "there is no such workload");
    let Err(ClientError::Refused(problem)) = fixture.client.operate("wiki", sleep).await else {
        panic!("the request must fail")
    };
    assert_eq!((problem.status, problem.code), (504, ErrorCode::Timeout));
}

#[tokio::test]
async fn a_stopped_router_removes_the_socket_and_the_client_reports_it() {
    let Fixture { client, end, served, directory, .. } = Fixture::start();
    end.send(()).unwrap();
    served.await.unwrap().unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }));
    assert!(error.to_string().contains("drowse run"));
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_problem() {
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

#[tokio::test]
async fn a_forced_sleep_reaches_the_control() {
    let fixture = Fixture::start();
    let sleep = request(Action::Sleep { force: true }, Some(Duration::from_secs(1)));
    fixture.client.operate("n1/104", sleep).await.unwrap_err();
    assert_eq!(*fixture.control.requests.lock().unwrap(), [("n1/104".to_owned(), sleep)]);
}

#[tokio::test]
async fn restart_and_recreate_reach_the_control() {
    let fixture = Fixture::start();
    let restart = request(Action::Restart { force: true }, None);
    let recreate = request(Action::Recreate { force: false, refresh: true }, None);
    fixture.client.operate("n1/104", restart).await.unwrap();
    fixture.client.operate("n1/104", recreate).await.unwrap();
    let requests: Vec<OperationRequest> =
        fixture.control.requests.lock().unwrap().iter().map(|(_, request)| *request).collect();
    assert_eq!(requests, [restart, recreate]);
}

#[tokio::test]
async fn operations_are_limited_to_the_requested_number() {
    let fixture = Fixture::start();
    let entries = fixture.client.operations(Some("n1/104"), 3).await.unwrap();
    assert_eq!((entries.len(), entries[0].kind), (3, OperationKind::Wake));
    assert!(fixture.client.operations(Some("wiki"), 3).await.is_err());
}

#[tokio::test]
async fn phase_changes_are_streamed_and_a_slow_client_gets_the_number_missed() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let fixture = Fixture::start();
    let stream = tokio::net::UnixStream::connect(&fixture.socket).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    writer.write_all(b"GET /v0/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(reader).lines();
    while lines.next_line().await.unwrap().unwrap() != "" {}
    let change = PhaseChange {
        workload: WorkloadName::parse("n1/104").unwrap(),
        from: Phase::Asleep,
        to: Phase::Waking,
        generation: Generation(1),
        reason: None,
    };
    for _ in 0..5 {
        fixture.control.changes.get().unwrap().send(change.clone()).unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let line = lines.next_line().await.unwrap().unwrap();
        seen.extend(line.strip_prefix("event: ").map(str::to_owned));
        if let Some(data) = line.strip_prefix("data: {") {
            assert!(data.contains(r#""to":"waking""#), "{data}");
        }
    }
    assert_eq!(seen, ["missed", "phase", "phase"]);
}
