#![allow(clippy::unwrap_used)]

use std::{
    sync::{Mutex, OnceLock},
    time::{Duration, SystemTime},
};

use drowse_core::{Correlation, Generation, Kind, Phase, ProviderName, Source, WorkloadName};
use tokio::sync::oneshot;

use super::*;
use crate::client::{Client, ClientError};

/// Knows one workload, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<(String, Order)>>,
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
        said: None,
        visits: 1,
        waiting: 0,
        held: 0,
        unasked: false,
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
        kind: Kind::Wake,
        source: Source::Request,
        reference: None,
        native_before: None,
        native_after: None,
        image: None,
        failure: None,
        began: SystemTime::UNIX_EPOCH,
        ended: SystemTime::now(),
    }
}

/// At the command line, with a wait.
fn order(action: Action, wait: Option<Duration>) -> Order {
    Order { action, wait, source: Source::Cli }
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
            pools: Vec::new(),
        }
    }

    fn workload(&self, name: &str) -> Result<WorkloadStatus, Failure> {
        match name {
            "n1/104" => Ok(blog()),
            _ => Err(Failure::new(ErrorCode::NotFound, "there is no such workload")),
        }
    }

    async fn operate(&self, name: &str, order: Order) -> Result<WorkloadStatus, Failure> {
        self.asked.lock().unwrap().push((name.to_owned(), order));
        match (order.action, name) {
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
    let workload = fixture.client.workload("n1/104").await.unwrap();
    assert_eq!(workload.name.as_str(), "n1/104");
    let nobody = fixture.client.workload("wiki").await.unwrap_err();
    assert!(matches!(nobody, ClientError::Refused(problem) if problem.status == 404));
}

#[tokio::test]
async fn a_name_with_slashes_and_a_wait_reach_the_control() {
    let fixture = Fixture::start();
    let wait = Some(Duration::from_millis(1500));
    let wake = order(Action::Wake, wait);
    let status = fixture.client.operate("n1/104", wake).await.unwrap();
    assert_eq!(status.phase, Phase::Ready);
    assert_eq!(*fixture.control.asked.lock().unwrap(), [("n1/104".to_owned(), wake)]);
}

#[tokio::test]
async fn a_failure_comes_back_with_its_code_and_its_words() {
    let fixture = Fixture::start();
    let [wake, sleep, ..] = Action::GENTLE.map(|action| order(action, None));
    let Err(ClientError::Refused(problem)) = fixture.client.operate("wiki", wake).await else {
        panic!("it was let in")
    };
    assert_eq!((problem.status, &problem.code), (404, &ErrorCode::NotFound));
    assert_eq!(problem.detail, "there is no such workload");
    let Err(ClientError::Refused(problem)) = fixture.client.operate("wiki", sleep).await else {
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

#[tokio::test]
async fn an_order_to_sleep_by_force_reaches_the_control() {
    let fixture = Fixture::start();
    let sleep = order(Action::Sleep { force: true }, Some(Duration::from_secs(1)));
    fixture.client.operate("n1/104", sleep).await.unwrap_err();
    assert_eq!(*fixture.control.asked.lock().unwrap(), [("n1/104".to_owned(), sleep)]);
}

#[tokio::test]
async fn orders_to_restart_and_to_make_anew_reach_the_control() {
    let fixture = Fixture::start();
    let restart = order(Action::Restart { force: true }, None);
    let recreate = order(Action::Recreate { force: false, refresh: true }, None);
    fixture.client.operate("n1/104", restart).await.unwrap();
    fixture.client.operate("n1/104", recreate).await.unwrap();
    let orders: Vec<Order> =
        fixture.control.asked.lock().unwrap().iter().map(|(_, order)| *order).collect();
    assert_eq!(orders, [restart, recreate]);
}

#[tokio::test]
async fn operations_come_back_as_many_as_were_asked_for() {
    let fixture = Fixture::start();
    let entries = fixture.client.operations(Some("n1/104"), 3).await.unwrap();
    assert_eq!((entries.len(), entries[0].kind), (3, Kind::Wake));
    assert!(fixture.client.operations(Some("wiki"), 3).await.is_err());
}

#[tokio::test]
async fn phase_changes_are_told_as_events_and_a_slow_reader_learns_what_it_missed() {
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
