#![allow(clippy::unwrap_used)]

use std::{cell::Cell, ffi::c_void, ptr};

use drowse_provider_abi as abi;

use super::*;
use crate::{
    Description, Error, ErrorCode, NoSettings, Observation, Result, Status, StopOptions, Target,
    clock,
};

/// Panics in `describe` and `configure`.
struct Panicky;

impl Provider for Panicky {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        panic!("describe")
    }

    fn configure(_: NoSettings) -> Result<Self> {
        panic!("configure")
    }

    fn start(&self, _: &Target<NoSettings>) -> Result<Observation> {
        unreachable!("it is never configured")
    }

    fn stop(&self, _: &Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        unreachable!("it is never configured")
    }

    fn status(&self, _: &Target<NoSettings>) -> Result<Observation> {
        unreachable!("it is never configured")
    }
}

/// Panics in every call and in its destructor.
struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        panic!("forget")
    }
}

macro_rules! panics {
    ($($name:ident($($argument:ty),*) -> $answer:ty;)+) => {
        $(fn $name(&self, $(_: $argument),*) -> Result<$answer> {
            panic!(stringify!($name))
        })+
    };
}

impl Provider for Late {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("late", "1", "panics late")
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    panics! {
        start(&Target<NoSettings>) -> Observation;
        stop(&Target<NoSettings>, &StopOptions) -> Observation;
        status(&Target<NoSettings>) -> Observation;
        pause(&Target<NoSettings>) -> Observation;
        resume(&Target<NoSettings>) -> Observation;
        kill(&Target<NoSettings>, Option<&str>) -> Observation;
        list(Option<&str>) -> crate::Page;
        watch() -> ();
        recreate(&Target<NoSettings>, &crate::RecreateOptions) -> Observation;
        remove(&Target<NoSettings>, &crate::RemoveOptions) -> ();
        logs(&Target<NoSettings>, u32) -> Vec<String>;
        exec(&Target<NoSettings>, &[String]) -> crate::Exit;
        usage(&Target<NoSettings>) -> crate::Usage;
    }
}

/// Queries its host's clock.
struct Clock;

impl Provider for Clock {
    type Settings = NoSettings;
    type TargetSettings = NoSettings;

    fn describe() -> Description {
        Description::new("clock", "1", "asks for the time")
    }

    fn configure(_: NoSettings) -> Result<Self> {
        Ok(Self)
    }

    fn start(&self, target: &Target<NoSettings>) -> Result<Observation> {
        let _calls_on_drop = CallsOnDrop;
        let now = clock::since_epoch();
        Ok(Observation::new(&target.handle, Status::Running, format!("{now:?}")))
    }

    fn stop(&self, _: &Target<NoSettings>, _: &StopOptions) -> Result<Observation> {
        Err(Error::conflict("another operation is running").with_attribute("who", "cron"))
    }

    fn status(&self, target: &Target<NoSettings>) -> Result<Observation> {
        Ok(Observation::missing(&target.handle))
    }
}

/// Calls the host also while unwinding.
struct CallsOnDrop;

impl Drop for CallsOnDrop {
    fn drop(&mut self) {
        clock::monotonic();
    }
}

thread_local! {
    /// Code that the host returns.
    static CODE: Cell<u32> = const { Cell::new(abi::host::ANSWERED) };
    static HOST_CALLS: Cell<u32> = const { Cell::new(0) };
}

unsafe extern "C" fn host(_: *mut c_void, _: Bytes, _: Bytes, answer: Sink) -> u32 {
    HOST_CALLS.set(HOST_CALLS.get() + 1);
    if CODE.get() == abi::host::ANSWERED {
        // SAFETY: the sink is the caller's.
        unsafe { (answer.take)(answer.context, Bytes::of(&wire::bytes(&7_000_000_000_u64))) };
    }
    CODE.get()
}

unsafe extern "C" fn keep(context: *mut c_void, answer: Bytes) {
    // SAFETY: the context is the vector of `call`.
    unsafe {
        let buffer = &mut *context.cast::<Vec<u8>>();
        buffer.extend_from_slice(std::slice::from_raw_parts(answer.data, answer.len));
    }
}

fn call<P: Provider>(function: Function, arguments: &[u8]) -> (u32, Vec<u8>) {
    let mut answer = Vec::new();
    let host = abi::Host { context: ptr::null_mut(), call: host };
    let sink = Sink { context: ptr::from_mut(&mut answer).cast(), take: keep };
    let entry = table::<P>().functions[function as usize].unwrap();
    // SAFETY: host, arguments and sink live until it returns.
    let code = unsafe { entry(&host, Bytes::of(arguments), sink) };
    (code, answer)
}

fn answer<P: Provider, R: DeserializeOwned>(
    function: Function,
    arguments: &impl Serialize,
) -> Result<R, types::Error> {
    let (code, bytes) = call::<P>(function, &wire::bytes(arguments));
    assert_eq!(code, entry::ANSWERED, "{}", String::from_utf8_lossy(&bytes));
    wire::read::<Result<R, types::Error>>(&bytes).unwrap()
}

fn target() -> types::Target {
    types::Target { handle: "x".into(), settings: "{}".into(), attributes: Vec::new() }
}

fn panicked<P: Provider>(function: Function, arguments: &impl Serialize, payload: &str) {
    let (code, bytes) = call::<P>(function, &wire::bytes(arguments));
    assert_eq!(code, entry::PANICKED, "{function:?}");
    let message = String::from_utf8(bytes).unwrap();
    assert!(message.starts_with("panicked at "), "{message}");
    assert!(message.ends_with(payload), "{function:?}: {message}");
}

#[test]
fn every_entry_catches_panics() {
    panicked::<Panicky>(Function::Describe, &(), "describe");
    panicked::<Panicky>(Function::Configure, &"{}", "configure");

    answer::<Late, ()>(Function::Configure, &"{}").unwrap();
    let target = target();
    let stop = StopOptions { signal: None, grace_ms: 1, attributes: Vec::new() };
    panicked::<Late>(Function::Start, &target, "start");
    panicked::<Late>(Function::Stop, &(&target, &stop), "stop");
    panicked::<Late>(Function::Status, &target, "status");
    panicked::<Late>(Function::Pause, &target, "pause");
    panicked::<Late>(Function::Resume, &target, "resume");
    panicked::<Late>(Function::Kill, &(&target, None::<&str>), "kill");
    panicked::<Late>(Function::List, &None::<&str>, "list");
    panicked::<Late>(Function::Watch, &(), "watch");
    let recreate = types::RecreateOptions { refresh: false, stop, attributes: Vec::new() };
    panicked::<Late>(Function::Recreate, &(&target, &recreate), "recreate");
    let remove = types::RemoveOptions { preserve_data: true, attributes: Vec::new() };
    panicked::<Late>(Function::Remove, &(&target, &remove), "remove");
    panicked::<Late>(Function::Logs, &(&target, 1_u32), "logs");
    panicked::<Late>(Function::Exec, &(&target, ["true"].as_slice()), "exec");
    panicked::<Late>(Function::Usage, &target, "usage");
    panicked::<Late>(Function::Forget, &(), "forget");
}

#[test]
fn a_call_is_configured_answered_and_forgotten() {
    assert_eq!(answer::<Clock, types::Description>(Function::Describe, &()).unwrap().name, "clock");
    let early = answer::<Clock, Observation>(Function::Start, &target()).unwrap_err();
    assert!(early.message.contains("call configure first"), "{}", early.message);

    answer::<Clock, ()>(Function::Configure, &"{}").unwrap();
    let refused = answer::<Clock, ()>(Function::Configure, &"{\"x\":1}").unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest);

    answer::<Clock, ()>(Function::Configure, &"{}").unwrap();
    let started = answer::<Clock, Observation>(Function::Start, &target()).unwrap();
    assert_eq!(started.native_status, "7s");
    let stop = StopOptions { signal: None, grace_ms: 1, attributes: Vec::new() };
    let error = answer::<Clock, Observation>(Function::Stop, &(target(), stop)).unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert_eq!(error.attributes[0].value, "cron");
    answer::<Clock, ()>(Function::Forget, &()).unwrap();
    assert!(answer::<Clock, Observation>(Function::Status, &target()).is_err());
}

#[test]
fn invalid_arguments_are_told_apart_from_panics() {
    for garbage in [&b"\xff\xff\xff\xff"[..], b"", b"\x01x\x02{}\x00\x00"] {
        let (code, payload) = call::<Clock>(Function::Status, garbage);
        assert_eq!(code, entry::UNREADABLE);
        assert!(payload.starts_with(b"arguments: "));
    }
}

#[test]
fn a_cancelled_call_unwinds_and_only_its_destructors_call_the_host() {
    answer::<Clock, ()>(Function::Configure, &"{}").unwrap();
    CODE.set(abi::host::GIVEN_UP);
    let (code, payload) = call::<Clock>(Function::Start, &wire::bytes(&target()));
    CODE.set(abi::host::ANSWERED);
    assert_eq!((code, payload.as_slice()), (entry::GIVEN_UP, &b""[..]));
    assert_eq!(HOST_CALLS.get(), 2);
    assert!(answer::<Clock, Observation>(Function::Start, &target()).is_ok());
}
