//! One call of a dynamic library, on its own thread.

use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use drowse_provider_abi::{self as abi, Bytes, Sink, wire};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{runtime::Handle, sync::oneshot};

use super::{Library, serve, unsupported};
use crate::{
    fault::{self, Fault},
    function::{Answer, Function},
    store::HostState,
};

/// A call, and what answers the questions of the library meanwhile.
pub(super) struct Call {
    library: Library,
    state: HostState,
    runtime: Handle,
    /// Closed when nobody waits for the call any more.
    given_up: oneshot::Sender<()>,
    /// How it broke, where the state does not know better.
    broken: Option<wasmtime::Error>,
}

/// What an entry answered, up to so many bytes.
struct Taken {
    bytes: Vec<u8>,
    limit: usize,
    too_much: bool,
}

// === impl Call ===

impl Call {
    pub(super) fn new(
        library: Library,
        state: HostState,
        runtime: Handle,
        given_up: oneshot::Sender<()>,
    ) -> Self {
        Self { library, state, runtime, given_up, broken: None }
    }

    /// Configures, says so, calls the function, and lets the library forget what it made.
    pub(super) fn of<F: Function>(
        &mut self,
        settings: Option<&str>,
        function: F,
        configured: impl FnOnce(),
    ) -> Result<Answer<F::Answer>, Fault> {
        let meter = self.state.meter.clone();
        let answer = meter.here(|| {
            let ready = match settings {
                Some(settings) => self.enter::<()>(abi::Function::Configure, &settings)?,
                None => Ok(()),
            };
            self.state.inside = settings.is_none();
            configured();
            let answer = match (ready, F::ENTRY) {
                (Err(error), _) => Ok(Err(error)),
                (Ok(()), Some(entry)) => self.enter(entry, &function),
                // There is nothing to call: what is wanted is no answer at all.
                (Ok(()), None) => wire::read(&[]).map(Ok).map_err(garbled),
            };
            if settings.is_some() {
                // What it answers to that changes nothing.
                let _ = self.enter::<()>(abi::Function::Forget, &());
            }
            answer
        });
        self.state.scope.tenant.notes.settle(&self.state.doing());
        answer
    }

    /// Calls one entry.
    fn enter<R: DeserializeOwned>(
        &mut self,
        function: abi::Function,
        arguments: &impl Serialize,
    ) -> Result<Answer<R>, Fault> {
        let Some(entry) = self.library.entry(function) else { return Ok(Err(unsupported())) };
        let limit = usize::try_from(self.state.scope.limits().memory).unwrap_or(usize::MAX);
        let mut taken = Taken { bytes: Vec::new(), limit, too_much: false };
        let arguments = wire::bytes(arguments);
        let host = abi::Host { context: ptr::from_mut(self).cast(), call: answer };
        let sink = Sink { context: ptr::from_mut(&mut taken).cast(), take };
        // SAFETY: a library that was opened keeps to the border's rules. Host, arguments and sink
        // live until it returns, and nothing else touches `self` or `taken` meanwhile.
        let code = unsafe { entry(&host, Bytes::of(&arguments), sink) };
        if let Some(error) = self.broken.take() {
            return Err(Fault::of(&error, self.state.fault.take(), None));
        }
        if taken.too_much {
            return Err(Fault::memory(self.state.scope.limits()));
        }
        let text = || String::from_utf8_lossy(&taken.bytes).into_owned();
        match code {
            abi::entry::ANSWERED => wire::read(&taken.bytes).map_err(garbled),
            abi::entry::PANICKED => Err(Fault::Panic(fault::panic_message(&text()))),
            abi::entry::UNREADABLE => Err(Fault::Unreadable(fault::clean(&text(), 256))),
            abi::entry::GIVEN_UP => Err(Fault::Trap("the call was given up".into())),
            _ => Err(Fault::Garbled("a return code")),
        }
    }

    /// Answers a question of the library; none when the call is over.
    fn serve(&mut self, function: &str, arguments: &[u8]) -> Result<Vec<u8>, u32> {
        if self.broken.is_some() {
            return Err(abi::host::GIVEN_UP);
        }
        let Self { state, runtime, given_up, broken, .. } = self;
        let served = runtime.block_on(async {
            tokio::select! {
                biased;
                () = given_up.closed() => None,
                served = serve::serve(state, function, arguments) => Some(served),
            }
        });
        match served {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(serve::Unserved::Unknown)) => Err(abi::host::UNKNOWN),
            Some(Err(serve::Unserved::Broken(error))) => {
                *broken = Some(error);
                Err(abi::host::GIVEN_UP)
            }
            None => Err(abi::host::GIVEN_UP),
        }
    }
}

/// What came is no answer of the contract's, whatever is wrong with it.
fn garbled(_: String) -> Fault {
    Fault::Garbled("its answer")
}

/// The [`abi::Host`] of a call.
unsafe extern "C" fn answer(
    context: *mut c_void,
    function: Bytes,
    arguments: Bytes,
    answer: Sink,
) -> u32 {
    // SAFETY: the context is the call of `enter`, which waits for the entry and touches nothing
    // meanwhile; the library lends the bytes, and asks on the entry's thread only.
    let (call, function, arguments) = unsafe {
        (
            &mut *context.cast::<Call>(),
            std::slice::from_raw_parts(function.data, function.len),
            std::slice::from_raw_parts(arguments.data, arguments.len),
        )
    };
    let served = catch_unwind(AssertUnwindSafe(|| {
        call.serve(std::str::from_utf8(function).unwrap_or_default(), arguments)
    }));
    match served {
        Ok(Ok(bytes)) => {
            // SAFETY: the library's sink for this question, which takes one answer.
            unsafe { (answer.take)(answer.context, Bytes::of(&bytes)) };
            abi::host::ANSWERED
        }
        Ok(Err(code)) => code,
        // The runtime has ended, and with it everything that could answer.
        Err(_) => abi::host::GIVEN_UP,
    }
}

/// Keeps what an entry answers.
unsafe extern "C" fn take(context: *mut c_void, answer: Bytes) {
    // SAFETY: the context is the `taken` of `enter`, which waits for the entry; the library lends
    // the bytes.
    let (taken, bytes) = unsafe {
        (&mut *context.cast::<Taken>(), std::slice::from_raw_parts(answer.data, answer.len))
    };
    if bytes.len() > taken.limit {
        taken.too_much = true;
    } else {
        taken.bytes = bytes.to_vec();
    }
}
