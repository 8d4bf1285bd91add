//! Access to the provider's key-value cache.

use crate::{bindings::memo, store::HostState};

impl memo::Host for HostState {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.grants.memo.with(|values| values.get(&key).cloned()))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<bool> {
        Ok(self.grants.memo.set(key, value))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.grants.memo.with(|values| values.remove(&key));
        Ok(())
    }
}
