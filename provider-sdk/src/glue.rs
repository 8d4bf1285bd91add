//! Connects the generated export glue to a [`Provider`]: types, settings, and the configured
//! provider of an instance.

use std::{any::Any, cell::RefCell, marker::PhantomData, rc::Rc};

use crate::{
    bindings::{drowse::provider::types, exports::drowse::provider::provider::Guest},
    error::{Error, Result},
    provider::{Provider, Target},
    settings,
    words::{Exit, Observation, Page, RecreateOptions, RemoveOptions, StopOptions, Usage},
};

/// The contract's exports, implemented by `P`.
pub struct Glue<P>(PhantomData<P>);

thread_local! {
    /// The provider that the last `configure` created.
    static CONFIGURED: RefCell<Option<Rc<dyn Any>>> = const { RefCell::new(None) };
}

impl<P: Provider> Glue<P> {
    fn call<R>(run: impl FnOnce(&P) -> Result<R>) -> Result<R, types::Error> {
        panic_hook();
        let configured = CONFIGURED.with_borrow(Clone::clone);
        let provider = configured
            .and_then(|provider| provider.downcast::<P>().ok())
            .ok_or_else(|| Error::invalid_request("call of a provider: call configure first"))?;
        Ok(run(&provider)?)
    }

    fn call_for_target<R>(
        target: types::Target,
        run: impl FnOnce(&P, &Target<P::TargetSettings>) -> Result<R>,
    ) -> Result<R, types::Error> {
        Self::call(|provider| {
            let types::Target { handle, settings, attributes } = target;
            let settings = settings::parse(&format!("settings of target {handle:?}"), &settings)?;
            run(provider, &Target { handle, settings, attributes })
        })
    }
}

/// Functions that only the dynamic library needs.
#[cfg(not(target_family = "wasm"))]
impl<P: Provider> Glue<P> {
    /// `describe` as a fallible function, like every entry.
    pub(crate) fn described() -> Result<types::Description, types::Error> {
        Ok(<Self as Guest>::describe())
    }

    /// Drops the configured provider.
    pub(crate) fn forget() -> Result<(), types::Error> {
        CONFIGURED.set(None);
        Ok(())
    }
}

impl<P: Provider> Guest for Glue<P> {
    fn describe() -> types::Description {
        panic_hook();
        P::describe().into_wire::<P>()
    }

    fn configure(settings: String) -> Result<(), types::Error> {
        panic_hook();
        CONFIGURED.set(None);
        let provider = P::configure(settings::parse("settings", &settings)?)?;
        CONFIGURED.set(Some(Rc::new(provider)));
        Ok(())
    }

    fn start(target: types::Target) -> Result<Observation, types::Error> {
        Self::call_for_target(target, P::start)
    }

    fn stop(target: types::Target, options: StopOptions) -> Result<Observation, types::Error> {
        Self::call_for_target(target, |provider, target| provider.stop(target, &options))
    }

    fn pause(target: types::Target) -> Result<Observation, types::Error> {
        Self::call_for_target(target, P::pause)
    }

    fn resume(target: types::Target) -> Result<Observation, types::Error> {
        Self::call_for_target(target, P::resume)
    }

    fn kill(target: types::Target, signal: Option<String>) -> Result<Observation, types::Error> {
        Self::call_for_target(target, |provider, target| provider.kill(target, signal.as_deref()))
    }

    fn status(target: types::Target) -> Result<Observation, types::Error> {
        Self::call_for_target(target, P::status)
    }

    fn list(cursor: Option<String>) -> Result<Page, types::Error> {
        Self::call(|provider| provider.list(cursor.as_deref()))
    }

    fn watch() -> Result<(), types::Error> {
        Self::call(P::watch)
    }

    fn recreate(
        target: types::Target,
        options: RecreateOptions,
    ) -> Result<Observation, types::Error> {
        Self::call_for_target(target, |provider, target| provider.recreate(target, &options))
    }

    fn fetch(target: types::Target) -> Result<(), types::Error> {
        Self::call_for_target(target, P::fetch)
    }

    fn remove(target: types::Target, options: RemoveOptions) -> Result<(), types::Error> {
        Self::call_for_target(target, |provider, target| provider.remove(target, &options))
    }

    fn logs(target: types::Target, lines: u32) -> Result<Vec<String>, types::Error> {
        Self::call_for_target(target, |provider, target| provider.logs(target, lines))
    }

    fn exec(target: types::Target, command: Vec<String>) -> Result<Exit, types::Error> {
        Self::call_for_target(target, |provider, target| {
            if command.is_empty() {
                let handle = &target.handle;
                return Err(Error::invalid_request(format!(
                    "run a command in {handle:?}: the command is empty; name a program"
                )));
            }
            provider.exec(target, &command)
        })
    }

    fn usage(target: types::Target) -> Result<Usage, types::Error> {
        Self::call_for_target(target, P::usage)
    }
}

/// On wasm32-unknown-unknown a panic becomes a trap without a message, so the message is written to
/// the host's log first.
#[cfg(target_family = "wasm")]
fn panic_hook() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let text = panic.payload_as_str().unwrap_or("no message");
            let message = match panic.location() {
                Some(location) => format!("panicked at {location}: {text}"),
                None => format!("panicked: {text}"),
            };
            crate::log::write(crate::log::Level::Error, &message, &[]);
        }));
    });
}

#[cfg(not(target_family = "wasm"))]
fn panic_hook() {}

#[cfg(test)]
mod tests;
