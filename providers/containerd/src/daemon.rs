//! containerd's API: the calls that this provider makes, by what they do.

use std::{collections::BTreeMap, time::Duration};

use drowse_provider_sdk::{
    Error, ErrorCode, Result,
    grpc::{self, Call, Messages},
};
use prost::Message;

use crate::proto::{self, Container, Process};

/// The endpoint's name in the grant.
pub(crate) const ENDPOINT: &str = "containerd";

const CONTAINERS: &str = "/containerd.services.containers.v1.Containers";
const TASKS: &str = "/containerd.services.tasks.v1.Tasks";
const SNAPSHOTS: &str = "/containerd.services.snapshots.v1.Snapshots";
const IMAGES: &str = "/containerd.services.images.v1.Images";
const CONTENT: &str = "/containerd.services.content.v1.Content";
const EVENTS: &str = "/containerd.services.events.v1.Events";

/// gRPC's number for what exists already.
const ALREADY_EXISTS: u32 = 6;

/// The largest manifest or configuration of an image that is read.
const CONTENT_LIMIT: usize = 4 << 20;

/// The rules for every call that is made here.
pub(crate) const RULES: [&str; 20] = [
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
    "/containerd.services.snapshots.v1.Snapshots/*",
    "/containerd.services.images.v1.Images/Get",
    "/containerd.services.content.v1.Content/Read",
    "/containerd.services.content.v1.Content/Info",
    "/containerd.services.events.v1.Events/Subscribe",
    "/containerd.services.events.v1.Events/Publish",
];

/// The daemon behind the granted endpoint, in one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) namespace: String,
}

/// One snapshot by its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) snapshotter: &'a str,
    pub(crate) key: &'a str,
}

// === impl Daemon ===

impl Daemon {
    fn call(&self, service: &str, method: &str, ask: &impl Message) -> Call {
        Call::new(ENDPOINT, format!("{service}/{method}"))
            .metadata("containerd-namespace", &self.namespace)
            .message(ask.encode_to_vec())
    }

    fn ask<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        ask: &impl Message,
    ) -> Result<A> {
        read(method, &self.call(service, method, ask).unary()?)
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

    /// The number of its first process, which waits to be started. `conflict` when somebody else
    /// makes one.
    pub(crate) fn create_task(&self, task: &proto::CreateTask) -> Result<u32> {
        match self.ask::<proto::CreatedTask>(TASKS, "Create", task) {
            Ok(created) => Ok(created.pid),
            // So it is told while the other one is on its way: the shim's directory is there.
            Err(error) if error.message().ends_with("file exists") => {
                Err(Error::conflict(error.message()))
            }
            Err(error) => Err(error),
        }
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
            Err(error) if *error.code() == ErrorCode::Timeout => Ok(false),
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

    pub(crate) fn snapshot(&self, key: Key<'_>) -> Result<Option<proto::SnapshotInfo>> {
        let answer = self.ask::<proto::OneSnapshot>(SNAPSHOTS, "Stat", &key.ask());
        Ok(found(answer)?.and_then(|answer| answer.info))
    }

    pub(crate) fn mounts(&self, key: Key<'_>) -> Result<Vec<proto::Mount>> {
        Ok(self.ask::<proto::Mounts>(SNAPSHOTS, "Mounts", &key.ask())?.mounts)
    }

    /// False when there is one of this key already.
    pub(crate) fn prepare(
        &self,
        key: Key<'_>,
        parent: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<bool> {
        let ask = proto::Snapshot { parent: parent.to_owned(), labels, ..key.ask() };
        done(self.ask::<proto::Mounts>(SNAPSHOTS, "Prepare", &ask))
    }

    /// Sets one label of a snapshot and leaves the others alone.
    pub(crate) fn label_snapshot(&self, key: Key<'_>, name: &str, value: &str) -> Result<()> {
        let labels = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let info = proto::SnapshotInfo { name: key.key.to_owned(), labels, ..Default::default() };
        let ask = proto::UpdateSnapshot {
            snapshotter: key.snapshotter.to_owned(),
            info: Some(info),
            update_mask: Some(proto::FieldMask { paths: vec![format!("labels.{name}")] }),
        };
        self.ask::<proto::OneSnapshot>(SNAPSHOTS, "Update", &ask).map(drop)
    }

    /// Success when there is none.
    pub(crate) fn remove_snapshot(&self, key: Key<'_>) -> Result<()> {
        found(self.ask::<proto::Empty>(SNAPSHOTS, "Remove", &key.ask())).map(drop)
    }

    /// The digest that an image's name stands for.
    pub(crate) fn image(&self, name: &str) -> Result<Option<String>> {
        let answer = self.ask::<proto::OneImage>(IMAGES, "Get", &by_id(name));
        let image = found(answer)?.and_then(|answer| answer.image);
        Ok(image.and_then(|image| image.target).map(|target| target.digest))
    }

    /// Whether the content of this digest is here.
    pub(crate) fn has_content(&self, digest: &str) -> Result<bool> {
        Ok(found(self.ask::<proto::Empty>(CONTENT, "Info", &by_id(digest)))?.is_some())
    }

    /// A manifest or configuration, whole.
    pub(crate) fn content(&self, digest: &str) -> Result<Vec<u8>> {
        let mut pieces = self.call(CONTENT, "Read", &by_id(digest)).stream()?;
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next()? {
            whole.extend(read::<proto::Content>("Read", &piece)?.data);
            if whole.len() > CONTENT_LIMIT {
                return Err(Error::internal(format!("content {digest}: larger than 4 MiB")));
            }
        }
        Ok(whole)
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

// === impl Key ===

impl Key<'_> {
    fn ask(self) -> proto::Snapshot {
        proto::Snapshot {
            snapshotter: self.snapshotter.to_owned(),
            key: self.key.to_owned(),
            ..proto::Snapshot::default()
        }
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

/// False for what exists already.
fn done<T>(answer: Result<T>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if grpc::status(&error) == Some(ALREADY_EXISTS) => Ok(false),
        Err(error) => Err(error),
    }
}
