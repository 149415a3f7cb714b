//! Kinds of the group `gateway.networking.k8s.io`, as far as Tollgate reads them.

mod backend_tls_policy;
mod gateway;
mod gateway_class;
mod http_filter;
mod http_route;
mod name;
mod reference;
mod reference_grant;

pub use backend_tls_policy::{
    BackendTlsPolicySpec, BackendTlsPolicyValidation, SubjectAltName, SubjectAltNameType,
    WellKnownCaCertificates,
};
pub use gateway::{
    AllowedRoutes, FromNamespaces, GatewayAddress, GatewayListener, GatewaySpec, GatewayTls, ProtocolType,
    RouteGroupKind, RouteNamespaces, TlsMode,
};
pub use gateway_class::GatewayClassSpec;
pub use http_filter::{
    HttpHeaderFilter, HttpPathModifier, HttpPathModifierType, HttpRequestRedirect, HttpRouteFilter,
    HttpRouteFilterType, HttpUrlRewrite,
};
pub use http_route::{
    HeaderMatchType, HttpBackendRef, HttpHeaderMatch, HttpPathMatch, HttpQueryParamMatch, HttpRouteMatch,
    HttpRouteRule, HttpRouteSpec, HttpRouteTimeouts, PathMatchType,
};
pub(crate) use name::{DNS_SUBDOMAIN, GROUP, HEADER_NAME, HOSTNAME, KIND, NAMESPACE, SECTION_NAME};
pub use reference::{
    BackendObjectReference, LabelSelector, LabelSelectorRequirement, LocalObjectReference,
    LocalPolicyTargetReference, ParametersReference, ParentReference, PolicyTargetReference,
    SecretObjectReference,
};
pub use reference_grant::{ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo};
