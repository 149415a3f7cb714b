//! Who has ended a response that was broken off. The streams of the processor end then without a word; Envoy's access log knows.

use std::sync::Arc;

use tollgate_envoy::Struct;
use tollgate_envoy::logging::access_log_service_server::AccessLogService;
use tollgate_envoy::logging::stream_access_logs_message::LogEntries;
use tollgate_envoy::logging::{
    HttpAccessLogEntry, ResponseFlags, StreamAccessLogsMessage, StreamAccessLogsResponse,
};
use tollgate_envoy::value::Kind;
use tollgate_terms::{BackendFault, ClientFault, Fault};
use tonic::{Request, Response, Status, Streaming};

use crate::names;
use crate::processor::Shared;

/// Takes in the entries of responses that were broken off.
#[derive(Clone)]
pub(crate) struct Verdicts {
    pub(crate) shared: Arc<Shared>,
}

impl Verdicts {
    fn take(&self, entry: HttpAccessLogEntry) {
        let Some(common) = entry.common_properties else { return };
        let Some(fault) = common.response_flags.as_ref().and_then(fault_of) else { return };
        let metadata = common.metadata.map(|metadata| metadata.filter_metadata).unwrap_or_default();
        if let Some(running) =
            metadata.get(names::METADATA).and_then(exchange).and_then(|id| self.shared.find(id))
        {
            running.broken_off(fault);
        }
    }
}

#[tonic::async_trait]
impl AccessLogService for Verdicts {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            if let Some(LogEntries::HttpLogs(entries)) = message.log_entries {
                entries.log_entry.into_iter().for_each(|entry| self.take(entry));
            }
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}

fn exchange(members: &Struct) -> Option<&str> {
    match members.fields.get(names::EXCHANGE)?.kind.as_ref()? {
        Kind::StringValue(id) => Some(id),
        _ => None,
    }
}

/// What the flags of a response that had begun mean.
fn fault_of(flags: &ResponseFlags) -> Option<Fault> {
    if flags.upstream_connection_termination || flags.upstream_remote_reset || flags.upstream_protocol_error {
        Some(Fault::Backend(BackendFault::Cut))
    } else if flags.upstream_request_timeout {
        Some(Fault::Backend(BackendFault::Deadline))
    } else if flags.stream_idle_timeout {
        Some(Fault::Client(ClientFault::TooSlow))
    } else if flags.downstream_connection_termination {
        Some(Fault::Client(ClientFault::Gone))
    } else {
        None
    }
}
