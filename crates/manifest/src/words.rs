//! Table: what patterns mean, in words, for messages.

use crate::gateway_api::{DNS_SUBDOMAIN, GROUP, HEADER_NAME, HOSTNAME, KIND, NAMESPACE};
use crate::scalar::{DURATION, QUANTITY};

/// What a text must be to match `pattern`, for a sentence such as `"x" is not ...`.
pub(crate) fn of_pattern(pattern: &str) -> Option<&'static str> {
    let words = match pattern {
        HOSTNAME => {
            "a host name: expected lower-case labels with dots, such as \"api.example.com\" or \"*.example.com\""
        }
        DNS_SUBDOMAIN => "a name: expected lower-case letters, digits, \"-\" and \".\", such as \"my-name\"",
        GROUP => "an API group: expected a text such as \"gateway.networking.k8s.io\"",
        KIND => "a kind: expected letters, digits and \"-\", such as \"Gateway\"",
        NAMESPACE => "a namespace: expected lower-case letters, digits and \"-\", such as \"default\"",
        HEADER_NAME => "a header name: expected a token without spaces or colons, such as \"x-tenant\"",
        DURATION => "a duration: expected a text such as \"90s\" or \"1h30m\"",
        QUANTITY => "a size: expected a quantity such as \"50Mi\" or \"32768\"",
        _ => return None,
    };
    Some(words)
}
