//! The functions of the contract with their arguments, for components and dynamic libraries.

use std::time::Duration;

use drowse_provider_abi as abi;
use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use wasmtime::Store;

use crate::{
    bindings::{Guest, types},
    store::HostState,
};

/// Time limit of `describe` and `configure`, which may not call imports and so finish fast.
pub(crate) const INIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A guest's answer: the result, or the error that it returned.
pub(crate) type Answer<R> = Result<R, types::Error>;

/// A function of the contract. Serialized, it is the sequence of its arguments.
pub(crate) trait Function: Serialize + Send + Sync + 'static {
    /// Its result.
    type Answer: DeserializeOwned + Send + 'static;

    /// Its entry in a dynamic library's table; none for [`ConfigureOnly`].
    const ENTRY: Option<abi::Function>;

    /// Calls it in an instance of a component.
    fn call<'a>(
        &'a self,
        guest: &'a Guest,
        store: &'a mut Store<HostState>,
    ) -> BoxFuture<'a, wasmtime::Result<Answer<Self::Answer>>>;
}

/// Configures an instance and calls no function.
#[derive(Serialize)]
pub(crate) struct ConfigureOnly;

/// `describe`
#[derive(Serialize)]
pub(crate) struct Describe;

macro_rules! functions {
    ($($name:ident { $($field:ident: $type:ty),* } -> $answer:ty:
        |$it:ident| $call:ident($($argument:expr),*);)+
    ) => {$(
        #[derive(Serialize)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)*
        }

        impl Function for $name {
            type Answer = $answer;
            const ENTRY: Option<abi::Function> = Some(abi::Function::$name);

            fn call<'a>(
                &'a self,
                guest: &'a Guest,
                store: &'a mut Store<HostState>,
            ) -> BoxFuture<'a, wasmtime::Result<Answer<$answer>>> {
                let $it = self;
                Box::pin(async move { guest.$call(store, $($argument),*).await })
            }
        }
    )+};
}

functions! {
    Start { target: types::Target } -> types::Observation: |it| call_start(&it.target);
    Stop { target: types::Target, options: types::StopOptions } -> types::Observation:
        |it| call_stop(&it.target, &it.options);
    Status { target: types::Target } -> types::Observation: |it| call_status(&it.target);
    Pause { target: types::Target } -> types::Observation: |it| call_pause(&it.target);
    Resume { target: types::Target } -> types::Observation: |it| call_resume(&it.target);
    Kill { target: types::Target, signal: Option<String> } -> types::Observation:
        |it| call_kill(&it.target, it.signal.as_deref());
    List { cursor: Option<String> } -> types::Page: |it| call_list(it.cursor.as_deref());
    Watch {} -> (): |_it| call_watch();
    Recreate { target: types::Target, options: types::RecreateOptions } -> types::Observation:
        |it| call_recreate(&it.target, &it.options);
    Fetch { target: types::Target } -> (): |it| call_fetch(&it.target);
    Remove { target: types::Target, options: types::RemoveOptions } -> ():
        |it| call_remove(&it.target, &it.options);
    Logs { target: types::Target, lines: u32 } -> Vec<String>:
        |it| call_logs(&it.target, it.lines);
    Exec { target: types::Target, command: Vec<String> } -> types::Exit:
        |it| call_exec(&it.target, &it.command);
    Usage { target: types::Target } -> types::ResourceUsage: |it| call_usage(&it.target);
}

impl Function for ConfigureOnly {
    type Answer = ();
    const ENTRY: Option<abi::Function> = None;

    fn call<'a>(
        &'a self,
        _: &'a Guest,
        _: &'a mut Store<HostState>,
    ) -> BoxFuture<'a, wasmtime::Result<Answer<()>>> {
        Box::pin(async { Ok(Ok(())) })
    }
}

impl Function for Describe {
    type Answer = types::Description;
    const ENTRY: Option<abi::Function> = Some(abi::Function::Describe);

    fn call<'a>(
        &'a self,
        guest: &'a Guest,
        store: &'a mut Store<HostState>,
    ) -> BoxFuture<'a, wasmtime::Result<Answer<types::Description>>> {
        Box::pin(async move { Ok(Ok(guest.call_describe(store).await?)) })
    }
}
