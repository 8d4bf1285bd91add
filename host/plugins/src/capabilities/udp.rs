//! UDP datagrams to granted endpoints.

use super::errors::send_failed;
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
        self.require_call_phase("udp.send")?;
        let grants = self.grants.clone();
        Ok(match grants.datagrams(&endpoint) {
            Ok(datagrams) => datagrams.send(&payload).await.map_err(send_failed),
            Err(refusal) => {
                grants.context.refused(&self.operation_label(), &refusal);
                Err(error(types::ErrorCode::Denied, refusal))
            }
        })
    }
}
