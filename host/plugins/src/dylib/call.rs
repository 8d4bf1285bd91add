//! One call of a dynamic library, on its own thread.

use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use drowse_provider_abi::{self as abi, Bytes, Sink, wire};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{runtime::Handle, sync::oneshot};

use super::{library::Library, serve};
use crate::{
    bindings::types,
    convert,
    fault::{self, Fault},
    function::{Answer, Function},
    store::HostState,
    text,
};

/// A call, and the handler of its imports.
pub(super) struct Call {
    library: Library,
    state: HostState,
    runtime: Handle,
    /// Closed when the caller has given up.
    cancelled: oneshot::Sender<()>,
    /// The error that ended it, unless the state has a fault.
    broken: Option<wasmtime::Error>,
}

/// Receives the answer of an entry, up to `limit` bytes.
struct AnswerBuffer {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

// === impl Call ===

impl Call {
    pub(super) fn new(
        library: Library,
        state: HostState,
        runtime: Handle,
        cancelled: oneshot::Sender<()>,
    ) -> Self {
        Self { library, state, runtime, cancelled, broken: None }
    }

    /// Configures the library, signals that, calls the function, and lets the library drop its
    /// state.
    pub(super) fn of<F: Function>(
        &mut self,
        settings: Option<&str>,
        function: F,
        configured: impl FnOnce(),
    ) -> Result<Answer<F::Answer>, Fault> {
        let cpu_quota = self.state.cpu_quota.clone();
        let answer = cpu_quota.run_here(|| {
            let ready = match settings {
                Some(settings) => self.enter::<()>(abi::Function::Configure, &settings)?,
                None => Ok(()),
            };
            self.state.initializing = settings.is_none();
            configured();
            let answer = match (ready, F::ENTRY) {
                (Err(error), _) => Ok(Err(error)),
                (Ok(()), Some(entry)) => self.enter(entry, &function),
                // Nothing to call; the answer has no bytes.
                (Ok(()), None) => wire::read(&[]).map(Ok).map_err(garbled),
            };
            if settings.is_some() {
                // Its answer is ignored.
                let _ = self.enter::<()>(abi::Function::Forget, &());
            }
            answer
        });
        self.state.context().log_limiter.report_dropped(&self.state.operation_label());
        answer
    }

    /// Calls one entry.
    fn enter<R: DeserializeOwned>(
        &mut self,
        function: abi::Function,
        arguments: &impl Serialize,
    ) -> Result<Answer<R>, Fault> {
        let Some(entry) = self.library.entry(function) else { return Ok(Err(unsupported())) };
        let limit = usize::try_from(self.state.grants.limits().memory).unwrap_or(usize::MAX);
        let mut buffer = AnswerBuffer { bytes: Vec::new(), limit, exceeded: false };
        let arguments = wire::bytes(arguments);
        let host = abi::Host { context: ptr::from_mut(self).cast(), call: answer };
        let sink = Sink { context: ptr::from_mut(&mut buffer).cast(), take };
        // SAFETY: a library that was opened keeps to the border's rules. Host, arguments and sink
        // live until it returns, and nothing else touches `self` or `buffer` meanwhile.
        let code = unsafe { entry(&host, Bytes::of(&arguments), sink) };
        if let Some(error) = self.broken.take() {
            return Err(Fault::of(&error, self.state.fault.take(), None));
        }
        if buffer.exceeded {
            return Err(Fault::Memory(self.state.grants.limits().memory));
        }
        let message = || String::from_utf8_lossy(&buffer.bytes).into_owned();
        match code {
            abi::entry::ANSWERED => wire::read(&buffer.bytes).map_err(garbled),
            abi::entry::PANICKED => Err(Fault::Panic(fault::panic_message(&message()))),
            abi::entry::UNREADABLE => Err(Fault::Unreadable(text::sanitize(&message(), 256))),
            abi::entry::GIVEN_UP => Err(Fault::Trap("the call was cancelled".into())),
            _ => Err(Fault::Garbled("a return code")),
        }
    }

    /// Handles an import of the library; an error code if the call is over.
    fn serve(&mut self, function: &str, arguments: &[u8]) -> Result<Vec<u8>, u32> {
        if self.broken.is_some() {
            return Err(abi::host::GIVEN_UP);
        }
        let Self { state, runtime, cancelled, broken, .. } = self;
        let served = runtime.block_on(async {
            tokio::select! {
                biased;
                () = cancelled.closed() => None,
                served = serve::serve(state, function, arguments) => Some(served),
            }
        });
        match served {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(serve::ImportError::Unknown)) => Err(abi::host::UNKNOWN),
            Some(Err(serve::ImportError::Broken(error))) => {
                *broken = Some(error);
                Err(abi::host::GIVEN_UP)
            }
            None => Err(abi::host::GIVEN_UP),
        }
    }
}

/// The error of a function that the library does not have.
fn unsupported() -> types::Error {
    let message = "the plugin is built for an older contract without this function";
    convert::error(types::ErrorCode::Unsupported, message)
}

/// The fault for an answer that cannot be decoded.
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
        // The runtime has shut down.
        Err(_) => abi::host::GIVEN_UP,
    }
}

/// Stores the answer of an entry.
unsafe extern "C" fn take(context: *mut c_void, answer: Bytes) {
    // SAFETY: the context is the `buffer` of `enter`, which waits for the entry; the library lends
    // the bytes.
    let (buffer, bytes) = unsafe {
        (&mut *context.cast::<AnswerBuffer>(), std::slice::from_raw_parts(answer.data, answer.len))
    };
    if bytes.len() > buffer.limit {
        buffer.exceeded = true;
    } else {
        buffer.bytes = bytes.to_vec();
    }
}
