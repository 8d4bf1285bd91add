//! One workload's progress, followed once per thread and repeated by every stream.
//!
//! Every event is the whole state, so a stream may miss any of them but the last, and one that
//! begins anew needs to know nothing of what it missed: it is told the state of that moment.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use drowse_core::{Phase, Workload, WorkloadName};
use futures_util::future::select_all;
use tokio::{sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Lobby, Progress,
    follower::{Event, Follower},
};

/// Two events are so far apart, unless the second one says that the wait is over.
const PACE: Duration = Duration::from_millis(100);
/// Workloads that are watched for one page.
const WATCHED: usize = 64;

/// The feeds of one thread that somebody follows.
pub(crate) struct Feeds {
    lobby: Arc<Lobby>,
    open: RefCell<HashMap<WorkloadName, Weak<Feed>>>,
    stop: CancellationToken,
}

/// What is said of one workload. It is followed until nobody holds this any more.
pub(super) struct Feed {
    workload: Arc<Workload>,
    lobby: Arc<Lobby>,
    events: watch::Receiver<Event>,
    _task: AbortOnDropHandle<()>,
}

// === impl Feeds ===

impl Feeds {
    /// No feeds. They end when `stop` is cancelled.
    pub(crate) fn new(lobby: &Arc<Lobby>, stop: &CancellationToken) -> Rc<Self> {
        let (lobby, stop) = (lobby.clone(), stop.clone());
        Rc::new(Self { lobby, open: RefCell::default(), stop })
    }

    pub(crate) fn lobby(&self) -> &Arc<Lobby> {
        &self.lobby
    }

    /// The feed of this workload, begun if nobody follows it yet.
    pub(super) async fn follow(&self, workload: &Arc<Workload>) -> Arc<Feed> {
        let held = || {
            let feed = self.open.borrow().get(workload.name()).and_then(Weak::upgrade)?;
            Arc::ptr_eq(&feed.workload, workload).then_some(feed)
        };
        if let Some(feed) = held() {
            return feed;
        }
        let first = Progress::of(workload, self.lobby.tail(workload).await);
        // Somebody may have begun it meanwhile.
        if let Some(feed) = held() {
            return feed;
        }
        let (say, events) = watch::channel(Event::new(&first, 0));
        let following = follow(workload.clone(), self.lobby.clone(), first, say, self.stop.clone());
        let task = AbortOnDropHandle::new(tokio::task::spawn_local(following));
        let (workload, lobby) = (workload.clone(), self.lobby.clone());
        let name = workload.name().clone();
        let feed = Arc::new(Feed { workload, lobby, events, _task: task });
        let mut open = self.open.borrow_mut();
        open.retain(|_, feed| feed.strong_count() > 0);
        open.insert(name, Arc::downgrade(&feed));
        feed
    }
}

// === impl Feed ===

impl Feed {
    /// Somebody who is told the state now, and then what is new.
    pub(super) fn follower(&self) -> Follower {
        let mut news = self.events.clone();
        // Before the look, so that nothing falls between the two.
        let number = news.borrow_and_update().number;
        let now = Progress::of(&self.workload, self.lobby.known_tail(&self.workload));
        Follower::new(Event::new(&now, number), news)
    }
}

/// Says what is new until the workload, the thread or the feed ends.
async fn follow(
    workload: Arc<Workload>,
    lobby: Arc<Lobby>,
    mut said: Progress,
    say: watch::Sender<Event>,
    stop: CancellationToken,
) {
    let mut number = 0;
    loop {
        // Watched from before the look, so that nothing falls between the two.
        let changed = changed(&workload);
        let now = Progress::of(&workload, lobby.known_tail(&workload));
        if now.is_news_after(&said) {
            number += 1;
            say.send_modify(|held| *held = Event::new(&now, number));
            said = now;
        }
        tokio::select! {
            () = changed => {}
            () = lobby.renew_tail(&workload), if lobby.shows_tail(&workload) => {}
            () = stop.cancelled() => return,
        }
        let mut own = workload.watch();
        tokio::select! {
            _ = own.wait_for(|now| now.phase == Phase::Ready) => {}
            () = sleep(PACE) => {}
        }
    }
}

/// Resolves when something about the workload or one that it needs has changed from now on.
fn changed(workload: &Arc<Workload>) -> impl Future<Output = ()> + use<> {
    let mut all: Vec<Arc<Workload>> = vec![workload.clone()];
    let mut next = 0;
    while let Some(workload) = all.get(next).cloned() {
        next += 1;
        for (need, _) in workload.needs() {
            if all.len() < WATCHED && !all.iter().any(|held| Arc::ptr_eq(held, &need)) {
                all.push(need);
            }
        }
    }
    let changes: Vec<_> = all
        .into_iter()
        .map(|workload| {
            let mut watch = workload.watch();
            watch.mark_unchanged();
            Box::pin(async move {
                // Kept while it is watched: its end is no change.
                let _workload = workload;
                let _ = watch.changed().await;
            })
        })
        .collect();
    async move {
        select_all(changes).await;
    }
}
