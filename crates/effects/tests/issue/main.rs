//! Each source of tokens against a service of its own on the loopback, which sees what was asked.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail")]

mod aws;
mod aws_profile;
mod aws_secrets;
mod azure;
mod client;
mod google;
mod google_ambient;
mod key;
mod oidc;
mod service;
