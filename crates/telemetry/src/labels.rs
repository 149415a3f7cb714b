//! Label sets. Every value is a name from the configuration, a word of our own, or a model name that
//! [`crate::series`] has bounded.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use tollgate_terms::{BackendName, RouteName};

/// Labels that differ from series to series, in the order they are written.
pub(crate) type Labels = Vec<(&'static str, Arc<str>)>;

/// How requests ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RequestLabels {
    pub(crate) operation: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) status: u16,
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        ("operation", self.operation).encode(encoder.encode_label())?;
        ("outcome", self.outcome).encode(encoder.encode_label())?;
        ("status", self.status).encode(encoder.encode_label())
    }
}

/// What translation could not say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LossLabels {
    pub(crate) kind: &'static str,
    pub(crate) effect: &'static str,
    pub(crate) client_dialect: &'static str,
    pub(crate) backend_dialect: &'static str,
}

impl EncodeLabelSet for LossLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        ("kind", self.kind).encode(encoder.encode_label())?;
        ("effect", self.effect).encode(encoder.encode_label())?;
        ("client_dialect", self.client_dialect).encode(encoder.encode_label())?;
        ("backend_dialect", self.backend_dialect).encode(encoder.encode_label())
    }
}

/// From which backend to which one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FallbackLabels {
    pub(crate) route: RouteName,
    pub(crate) from_backend: BackendName,
    pub(crate) to_backend: BackendName,
}

impl EncodeLabelSet for FallbackLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        ("route", self.route.as_ref()).encode(encoder.encode_label())?;
        ("from_backend", self.from_backend.as_ref()).encode(encoder.encode_label())?;
        ("to_backend", self.to_backend.as_ref()).encode(encoder.encode_label())
    }
}
