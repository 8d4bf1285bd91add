//! containerd's API: the calls of this provider.

mod snapshots;
mod store;

use std::{collections::BTreeMap, time::Duration};

use drowse_provider_sdk::{
    Error, ErrorCode, Result,
    grpc::{self, Call, Messages},
};
use prost::Message;

pub(crate) use self::{
    snapshots::Key,
    store::{Ingest, MAX_DOCUMENT},
};
use crate::proto::{self, Container, Process};

/// Endpoint name in the grant.
pub(crate) const ENDPOINT: &str = "containerd";

const CONTAINERS: &str = "/containerd.services.containers.v1.Containers";
const TASKS: &str = "/containerd.services.tasks.v1.Tasks";
const SNAPSHOTS: &str = "/containerd.services.snapshots.v1.Snapshots";
const IMAGES: &str = "/containerd.services.images.v1.Images";
const CONTENT: &str = "/containerd.services.content.v1.Content";
const DIFF: &str = "/containerd.services.diff.v1.Diff";
const LEASES: &str = "/containerd.services.leases.v1.Leases";
const PLUGINS: &str = "/containerd.services.introspection.v1.Introspection";
const EVENTS: &str = "/containerd.services.events.v1.Events";

/// gRPC status ALREADY_EXISTS.
const ALREADY_EXISTS: u32 = 6;

/// Rules for every call made here.
pub(crate) const RULES: [&str; 38] = [
    "/containerd.services.containers.v1.Containers/Get",
    "/containerd.services.containers.v1.Containers/List",
    "/containerd.services.containers.v1.Containers/Create",
    "/containerd.services.containers.v1.Containers/Update",
    "/containerd.services.containers.v1.Containers/Delete",
    "/containerd.services.tasks.v1.Tasks/Get",
    "/containerd.services.tasks.v1.Tasks/List",
    "/containerd.services.tasks.v1.Tasks/Create",
    "/containerd.services.tasks.v1.Tasks/Start",
    "/containerd.services.tasks.v1.Tasks/Kill",
    "/containerd.services.tasks.v1.Tasks/Wait",
    "/containerd.services.tasks.v1.Tasks/Pause",
    "/containerd.services.tasks.v1.Tasks/Resume",
    "/containerd.services.tasks.v1.Tasks/Delete",
    "/containerd.services.tasks.v1.Tasks/Metrics",
    "/containerd.services.snapshots.v1.Snapshots/Stat",
    "/containerd.services.snapshots.v1.Snapshots/List",
    "/containerd.services.snapshots.v1.Snapshots/Mounts",
    "/containerd.services.snapshots.v1.Snapshots/Prepare",
    "/containerd.services.snapshots.v1.Snapshots/View",
    "/containerd.services.snapshots.v1.Snapshots/Commit",
    "/containerd.services.snapshots.v1.Snapshots/Update",
    "/containerd.services.snapshots.v1.Snapshots/Remove",
    "/containerd.services.images.v1.Images/Get",
    "/containerd.services.images.v1.Images/Create",
    "/containerd.services.images.v1.Images/Update",
    "/containerd.services.content.v1.Content/Info",
    "/containerd.services.content.v1.Content/Read",
    "/containerd.services.content.v1.Content/Write",
    "/containerd.services.content.v1.Content/Abort",
    "/containerd.services.content.v1.Content/Update",
    "/containerd.services.diff.v1.Diff/Apply",
    "/containerd.services.diff.v1.Diff/Diff",
    "/containerd.services.leases.v1.Leases/Create",
    "/containerd.services.leases.v1.Leases/Delete",
    "/containerd.services.introspection.v1.Introspection/Plugins",
    "/containerd.services.events.v1.Events/Subscribe",
    "/containerd.services.events.v1.Events/Publish",
];

/// The daemon behind the granted endpoint, in one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) namespace: String,
    /// Objects created by calls belong to this lease and are not garbage collected while it exists.
    lease: Option<String>,
    /// Timeout of a call; None for the grant's limit.
    timeout: Option<Duration>,
}

// === impl Daemon ===

impl Daemon {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), lease: None, timeout: None }
    }

    fn call(&self, service: &str, method: &str, request: &impl Message) -> Call {
        let call = Call::new(ENDPOINT, format!("{service}/{method}"))
            .metadata("containerd-namespace", &self.namespace)
            .message(request.encode_to_vec());
        let call = match self.timeout {
            Some(timeout) => call.timeout(timeout),
            None => call,
        };
        match &self.lease {
            Some(lease) => call.metadata("containerd-lease", lease),
            None => call,
        }
    }

    /// The same daemon with this timeout per call.
    pub(crate) fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self.clone() }
    }

    fn request<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        request: &impl Message,
    ) -> Result<A> {
        read(method, &self.call(service, method, request).unary()?)
    }

    /// Calls without a time limit: the call takes as long as its work.
    fn call_without_timeout<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        request: &impl Message,
    ) -> Result<A> {
        let mut answers = self.call(service, method, request).stream()?;
        let mut last = None;
        while let Some(answer) = answers.next()? {
            last = Some(answer);
        }
        let last =
            last.ok_or_else(|| Error::internal(format!("{method}: containerd sent no message")))?;
        read(method, &last)
    }

    pub(crate) fn container(&self, id: &str) -> Result<Option<Container>> {
        let answer = self.request::<proto::OneContainer>(CONTAINERS, "Get", &by_id(id));
        Ok(found(answer)?.and_then(|answer| answer.container))
    }

    pub(crate) fn containers(&self) -> Result<Vec<Container>> {
        let all = self.request::<proto::Containers>(CONTAINERS, "List", &proto::Empty {})?;
        Ok(all.containers)
    }

    /// False if the id is taken.
    pub(crate) fn create_container(&self, container: Container) -> Result<bool> {
        let request = proto::OneContainer { container: Some(container), update_mask: None };
        created(self.request::<proto::OneContainer>(CONTAINERS, "Create", &request))
    }

    /// Sets one label and keeps the others.
    pub(crate) fn set_label(&self, id: &str, name: &str, value: &str) -> Result<()> {
        let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let container = Container { id: id.to_owned(), labels, ..Container::default() };
        let request = proto::OneContainer {
            container: Some(container),
            update_mask: Some(proto::FieldMask { paths: vec![format!("labels.{name}")] }),
        };
        self.request::<proto::OneContainer>(CONTAINERS, "Update", &request).map(drop)
    }

    /// Succeeds if there is none.
    pub(crate) fn delete_container(&self, id: &str) -> Result<()> {
        found(self.request::<proto::Empty>(CONTAINERS, "Delete", &by_id(id))).map(drop)
    }

    pub(crate) fn task(&self, id: &str) -> Result<Option<Process>> {
        let answer = self.request::<proto::OneTask>(TASKS, "Get", &by_id(id));
        Ok(found(answer)?.and_then(|answer| answer.process))
    }

    pub(crate) fn tasks(&self) -> Result<Vec<Process>> {
        Ok(self.request::<proto::Tasks>(TASKS, "List", &proto::Empty {})?.tasks)
    }

    /// Pid of its first process, which waits to be started. None if there is a task already.
    pub(crate) fn create_task(&self, task: &proto::CreateTask) -> Result<Option<u32>> {
        let created = unless_exists(self.request::<proto::CreatedTask>(TASKS, "Create", task))?;
        Ok(created.map(|created| created.pid))
    }

    pub(crate) fn start_task(&self, id: &str) -> Result<()> {
        self.request::<proto::Empty>(TASKS, "Start", &by_id(id)).map(drop)
    }

    /// Succeeds if the task has ended already.
    pub(crate) fn kill_task(&self, id: &str, signal: u32) -> Result<()> {
        let request = proto::Kill { container_id: id.to_owned(), signal, all: signal == 9 };
        found(self.request::<proto::Empty>(TASKS, "Kill", &request)).map(drop)
    }

    /// Waits until the task has ended; false after this time. The grant may allow less.
    pub(crate) fn wait_task(&self, id: &str, time: Duration) -> Result<bool> {
        match found(self.call(TASKS, "Wait", &by_id(id)).timeout(time).unary()) {
            Ok(_) => Ok(true),
            // containerd may notice the end of the deadline first, and reports it with no code of
            // its own.
            Err(error)
                if *error.code() == ErrorCode::Timeout
                    || error.message().contains("deadline exceeded") =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn pause_task(&self, id: &str) -> Result<()> {
        self.request::<proto::Empty>(TASKS, "Pause", &by_id(id)).map(drop)
    }

    pub(crate) fn resume_task(&self, id: &str) -> Result<()> {
        self.request::<proto::Empty>(TASKS, "Resume", &by_id(id)).map(drop)
    }

    /// Succeeds if there is none.
    pub(crate) fn delete_task(&self, id: &str) -> Result<()> {
        found(self.request::<proto::Empty>(TASKS, "Delete", &by_id(id))).map(drop)
    }

    /// Metrics of its task, if the daemon has any.
    pub(crate) fn metric(&self, id: &str) -> Result<Option<proto::Metric>> {
        let request = proto::Filters { filters: vec![format!("id==\"{id}\"")] };
        let answer = self.request::<proto::Metrics>(TASKS, "Metrics", &request)?;
        Ok(answer.metrics.into_iter().find(|metric| metric.id == id))
    }

    /// Subscribes to events that match these filters, with a timeout per message.
    pub(crate) fn subscribe(&self, filters: Vec<String>, each: Duration) -> Result<Messages> {
        self.call(EVENTS, "Subscribe", &proto::Subscribe { filters }).timeout(each).stream()
    }

    /// Publishes an event of this provider.
    pub(crate) fn publish(&self, topic: &str, word: &str) -> Result<()> {
        let value = by_id(word).encode_to_vec();
        let event = Some(proto::Any { type_url: "drowse.Mark".to_owned(), value });
        let request = proto::Publish { topic: topic.to_owned(), event };
        self.request::<proto::Empty>(EVENTS, "Publish", &request).map(drop)
    }
}

fn by_id(id: &str) -> proto::ById {
    proto::ById { id: id.to_owned() }
}

/// Decodes a message of containerd.
pub(crate) fn read<A: Message + Default>(what: &str, bytes: &[u8]) -> Result<A> {
    A::decode(bytes).map_err(|error| {
        Error::internal(format!("{what}: cannot decode containerd's message: {error}"))
    })
}

/// None if the object does not exist.
fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if *error.code() == ErrorCode::NotFound || is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The task's shim exited during the call: another client deleted the task.
fn is_gone(error: &Error) -> bool {
    error.message().ends_with("ttrpc: closed")
}

/// None if the object exists already.
fn unless_exists<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if grpc::status(&error) == Some(ALREADY_EXISTS) => Ok(None),
        Err(error) => Err(error),
    }
}

/// False if the object exists already.
fn created<T>(answer: Result<T>) -> Result<bool> {
    Ok(unless_exists(answer)?.is_some())
}
