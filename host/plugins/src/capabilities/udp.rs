//! Datagrams to granted endpoints.

use super::http::failed;
use crate::{
    bindings::{types, udp},
    convert::error,
    store::HostState,
};

impl udp::Host for HostState {
    async fn send(
        &mut self,
        endpoint: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<(), types::Error>> {
        self.outside("udp.send")?;
        let scope = self.scope.clone();
        Ok(match scope.datagrams(&endpoint) {
            Ok(datagrams) => datagrams.send(&payload).await.map_err(failed),
            Err(refusal) => {
                scope.tenant.refused(&self.doing(), &refusal);
                Err(error(types::ErrorCode::Denied, refusal))
            }
        })
    }
}
