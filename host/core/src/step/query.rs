//! Status queries: at most one in flight, repeated after failures.

use super::Priority;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Queries {
    in_flight: Option<Query>,
    /// Ticket of the timer for the next query.
    timer: Option<u64>,
    /// Consecutive failed queries.
    failures: u32,
    /// A query is due once the operation is answered, or once the workload is at rest: its result
    /// would not count before.
    deferred: bool,
}

/// A query in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Query {
    pub(super) ticket: u64,
    priority: Priority,
    /// An operation began after the query was sent: the result does not count.
    pub(super) outdated: bool,
    /// Another query is due after this one.
    pub(super) repeat: Option<Priority>,
}

// === impl Queries ===

impl Queries {
    /// Marks the query in flight for repetition, unless a new one should replace it: an urgent
    /// query does not wait for a routine one, which may wait for its turn. Returns whether it did.
    pub(super) fn join(&mut self, priority: Priority) -> bool {
        let Some(query) = self.in_flight.as_mut().filter(|query| query.priority >= priority) else {
            return false;
        };
        query.repeat = query.repeat.max(Some(priority));
        true
    }

    /// Records a query that is sent now.
    pub(super) fn sent(&mut self, ticket: u64, priority: Priority) {
        self.in_flight = Some(Query { ticket, priority, outdated: false, repeat: None });
        self.deferred = false;
    }

    /// Takes the query in flight, if it has this ticket.
    pub(super) fn take(&mut self, ticket: u64) -> Option<Query> {
        self.in_flight.take_if(|query| query.ticket == ticket)
    }

    /// An operation begins: its result replaces a query's, and the query in flight
    /// is outdated.
    pub(super) fn supersede(&mut self) {
        self.deferred = false;
        self.failures = 0;
        if let Some(query) = &mut self.in_flight {
            query.outdated = true;
        }
    }

    /// Counts a failed query. Returns the consecutive failures.
    pub(super) fn failed(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    #[cfg(test)]
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn defer(&mut self) {
        self.deferred = true;
    }

    pub(super) fn defer_if(&mut self, due: bool) {
        self.deferred |= due;
    }

    /// Defers a query, or drops the deferred one.
    pub(super) fn set_deferred(&mut self, due: bool) {
        self.deferred = due;
    }

    pub(super) fn take_deferred(&mut self) -> bool {
        std::mem::take(&mut self.deferred)
    }

    pub(super) fn arm(&mut self, ticket: u64) {
        self.timer = Some(ticket);
    }

    /// Takes the timer's ticket. Returns whether there was one.
    pub(super) fn disarm(&mut self) -> bool {
        self.timer.take().is_some()
    }

    /// Takes the timer with this ticket. Returns whether it was armed.
    pub(super) fn fired(&mut self, ticket: u64) -> bool {
        self.timer.take_if(|armed| *armed == ticket).is_some()
    }

    /// The query in flight, if its result counts and it has this ticket.
    pub(super) fn awaits(&self, ticket: u64) -> bool {
        self.in_flight.is_some_and(|query| query.ticket == ticket && !query.outdated)
    }

    /// Lowest ticket of a query in flight or due that covers all that has happened so far.
    pub(super) fn pending(&self) -> Option<u64> {
        self.in_flight.map(|query| query.ticket + u64::from(query.repeat.is_some()))
    }
}
