//! containerd's API: the calls that this provider makes, by what they do.

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
    store::{DOCUMENT, Ingest},
};
use crate::proto::{self, Container, Process};

/// The endpoint's name in the grant.
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

/// gRPC's number for what exists already.
const ALREADY_EXISTS: u32 = 6;

/// The rules for every call that is made here.
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
    /// What calls make belongs to this lease, too, and is not collected while there is it.
    lease: Option<String>,
    /// Until an answer; the grant's limit when absent.
    patience: Option<Duration>,
}

// === impl Daemon ===

impl Daemon {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), lease: None, patience: None }
    }

    fn call(&self, service: &str, method: &str, ask: &impl Message) -> Call {
        let call = Call::new(ENDPOINT, format!("{service}/{method}"))
            .metadata("containerd-namespace", &self.namespace)
            .message(ask.encode_to_vec());
        let call = match self.patience {
            Some(patience) => call.timeout(patience),
            None => call,
        };
        match &self.lease {
            Some(lease) => call.metadata("containerd-lease", lease),
            None => call,
        }
    }

    /// The same daemon, whose answers are waited for no longer than this.
    pub(crate) fn within(&self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self.clone() }
    }

    fn ask<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        ask: &impl Message,
    ) -> Result<A> {
        read(method, &self.call(service, method, ask).unary()?)
    }

    /// The same without a limit of time: the call may take as long as its work does.
    fn ask_at_length<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        ask: &impl Message,
    ) -> Result<A> {
        let mut answers = self.call(service, method, ask).stream()?;
        let mut last = None;
        while let Some(answer) = answers.next()? {
            last = Some(answer);
        }
        let last =
            last.ok_or_else(|| Error::internal(format!("{method}: containerd answered nothing")))?;
        read(method, &last)
    }

    pub(crate) fn container(&self, id: &str) -> Result<Option<Container>> {
        let answer = self.ask::<proto::OneContainer>(CONTAINERS, "Get", &by_id(id));
        Ok(found(answer)?.and_then(|answer| answer.container))
    }

    pub(crate) fn containers(&self) -> Result<Vec<Container>> {
        let all = self.ask::<proto::Containers>(CONTAINERS, "List", &proto::Empty {})?;
        Ok(all.containers)
    }

    /// False when there is one of this id already.
    pub(crate) fn create_container(&self, container: Container) -> Result<bool> {
        let ask = proto::OneContainer { container: Some(container), update_mask: None };
        done(self.ask::<proto::OneContainer>(CONTAINERS, "Create", &ask))
    }

    /// Sets one label and leaves the others alone.
    pub(crate) fn set_label(&self, id: &str, name: &str, value: &str) -> Result<()> {
        let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let container = Container { id: id.to_owned(), labels, ..Container::default() };
        let ask = proto::OneContainer {
            container: Some(container),
            update_mask: Some(proto::FieldMask { paths: vec![format!("labels.{name}")] }),
        };
        self.ask::<proto::OneContainer>(CONTAINERS, "Update", &ask).map(drop)
    }

    /// Success when there is none.
    pub(crate) fn delete_container(&self, id: &str) -> Result<()> {
        found(self.ask::<proto::Empty>(CONTAINERS, "Delete", &by_id(id))).map(drop)
    }

    pub(crate) fn task(&self, id: &str) -> Result<Option<Process>> {
        let answer = self.ask::<proto::OneTask>(TASKS, "Get", &by_id(id));
        Ok(found(answer)?.and_then(|answer| answer.process))
    }

    pub(crate) fn tasks(&self) -> Result<Vec<Process>> {
        Ok(self.ask::<proto::Tasks>(TASKS, "List", &proto::Empty {})?.tasks)
    }

    /// The number of its first process, which waits to be started. None when there is a task already.
    pub(crate) fn create_task(&self, task: &proto::CreateTask) -> Result<Option<u32>> {
        let created = new(self.ask::<proto::CreatedTask>(TASKS, "Create", task))?;
        Ok(created.map(|created| created.pid))
    }

    pub(crate) fn start_task(&self, id: &str) -> Result<()> {
        self.ask::<proto::Empty>(TASKS, "Start", &by_id(id)).map(drop)
    }

    /// Success when it has ended already.
    pub(crate) fn kill_task(&self, id: &str, signal: u32) -> Result<()> {
        let ask = proto::Kill { container_id: id.to_owned(), signal, all: signal == 9 };
        found(self.ask::<proto::Empty>(TASKS, "Kill", &ask)).map(drop)
    }

    /// Waits until it has ended; false if it has not within this time. The grant may allow less.
    pub(crate) fn wait_task(&self, id: &str, time: Duration) -> Result<bool> {
        match found(self.call(TASKS, "Wait", &by_id(id)).timeout(time).unary()) {
            Ok(_) => Ok(true),
            // Told of the time, containerd itself may be the first to say that it is over, and has
            // no number for it.
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
        self.ask::<proto::Empty>(TASKS, "Pause", &by_id(id)).map(drop)
    }

    pub(crate) fn resume_task(&self, id: &str) -> Result<()> {
        self.ask::<proto::Empty>(TASKS, "Resume", &by_id(id)).map(drop)
    }

    /// Success when there is none.
    pub(crate) fn delete_task(&self, id: &str) -> Result<()> {
        found(self.ask::<proto::Empty>(TASKS, "Delete", &by_id(id))).map(drop)
    }

    /// What its task uses, if the daemon can tell.
    pub(crate) fn metric(&self, id: &str) -> Result<Option<proto::Metric>> {
        let ask = proto::Filters { filters: vec![format!("id==\"{id}\"")] };
        let answer = self.ask::<proto::Metrics>(TASKS, "Metrics", &ask)?;
        Ok(answer.metrics.into_iter().find(|metric| metric.id == id))
    }

    /// What happens, as far as these filters let it through; each message within this time.
    pub(crate) fn subscribe(&self, filters: Vec<String>, each: Duration) -> Result<Messages> {
        self.call(EVENTS, "Subscribe", &proto::Subscribe { filters }).timeout(each).stream()
    }

    /// An event of our own.
    pub(crate) fn publish(&self, topic: &str, word: &str) -> Result<()> {
        let value = by_id(word).encode_to_vec();
        let event = Some(proto::Any { type_url: "drowse.Mark".to_owned(), value });
        let ask = proto::Publish { topic: topic.to_owned(), event };
        self.ask::<proto::Empty>(EVENTS, "Publish", &ask).map(drop)
    }
}

fn by_id(id: &str) -> proto::ById {
    proto::ById { id: id.to_owned() }
}

/// A message of containerd's, or the failure to understand it.
pub(crate) fn read<A: Message + Default>(what: &str, bytes: &[u8]) -> Result<A> {
    A::decode(bytes).map_err(|error| {
        Error::internal(format!("{what}: containerd answered what cannot be read: {error}"))
    })
}

/// None for what does not exist.
fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if *error.code() == ErrorCode::NotFound || is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The task's shim has gone while it was asked: somebody else has deleted the task.
fn is_gone(error: &Error) -> bool {
    error.message().ends_with("ttrpc: closed")
}

/// None for what exists already.
fn new<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if grpc::status(&error) == Some(ALREADY_EXISTS) => Ok(None),
        Err(error) => Err(error),
    }
}

/// False for what exists already.
fn done<T>(answer: Result<T>) -> Result<bool> {
    Ok(new(answer)?.is_some())
}
