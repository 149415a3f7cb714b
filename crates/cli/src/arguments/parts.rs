//! The commands for a fleet of Envoys: what they would be told, and the parts run apart.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use tollgate_fleet::{Identity, Parts};

use super::{ADMIN_ADDRESS, Authentication, RequestArguments};
use crate::place::Spot;

/// Where the parts are on one machine, unless said otherwise.
const XDS: &str = "unix:/run/tollgate/xds.sock";
const EXTPROC: &str = "unix:/run/tollgate/extproc.sock";

/// Beside the external processor's, which is that of `run`.
const CONTROL_ADMIN_ADDRESS: &str = "127.0.0.1:1065";

pub(super) const PLAN_HELP: &str = "\
Print what would be served

Reads files and folders as `run` does and prints what becomes of them: the resources that an
Envoy is programmed with, or the bundle that the gateway itself works from. Secrets are named and
never shown. Mistakes are told on standard error, as `check` tells them. Nothing is started, and no
network is used.";

pub(super) const PLAN_EXAMPLES: &str = "\
Examples:
  tollgate plan gateway.yaml
  tollgate plan --to bundle --output json deploy/ | jq .routes
  tollgate plan --to ratelimit gateway.yaml > limits.yaml

Exit codes:
  0  no mistakes
  1  mistakes; what can be served all the same is printed
  2  a mistake on the command line";

pub(super) const CONTROL_HELP: &str = "\
Program a fleet of Envoys

Serves Envoys their configuration (xDS, delta or state of the world, aggregated) and follows the
changes of its files. A change that an Envoy rejects is taken back and told; it is not sent again.
Envoys serve on when this process is gone.

The external processor, `tollgate extproc`, follows the same files by itself. A request belongs to
one configuration: a processor that has not read it yet holds the request for up to two seconds.";

pub(super) const CONTROL_EXAMPLES: &str = "\
On one machine, with three processes (start the parts in any order):
  mkdir -m 700 /tmp/tollgate
  tollgate extproc --listen unix:/tmp/tollgate/extproc.sock gateway.yaml
  tollgate controlplane --listen unix:/tmp/tollgate/xds.sock \\
      --processor unix:/tmp/tollgate/extproc.sock gateway.yaml
  tollgate controlplane --listen unix:/tmp/tollgate/xds.sock --print-bootstrap > /tmp/tollgate/envoy.json
  envoy -c /tmp/tollgate/envoy.json

Exit codes:
  0  ended after a signal
  1  could not start
  2  a mistake on the command line";

pub(super) const EXTPROC_HELP: &str = "\
Answer the calls of an Envoy

The external processor alone: it understands, translates, signs and counts what an Envoy moves.
It follows the same files as the control plane. Each Envoy has one of its own beside it, since the
two halves of a request meet in its memory. While it is away, its Envoy answers with errors.";

pub(super) const EXTPROC_EXAMPLES: &str = "\
Example:
  tollgate extproc --listen unix:/tmp/tollgate/extproc.sock gateway.yaml

Exit codes:
  0  drained after a signal
  1  could not start, or running requests were cut off at the end
  2  a mistake on the command line";

/// `tollgate plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Files and folders of Kubernetes YAML
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// How to print it: yaml or json
    #[arg(long, short, value_name = "FORMAT", hide_possible_values = true, default_value = "yaml")]
    pub(crate) output: PlanOutput,
    /// What to print: envoy, which is Envoy's resources, ratelimit, which is what a rate limit service is configured with, or bundle
    #[arg(long, value_name = "WHAT", hide_possible_values = true, default_value = "envoy")]
    pub(crate) to: PlanTo,
    #[command(flatten)]
    pub(crate) envoy: EnvoyArguments,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanOutput {
    /// For people
    Yaml,
    /// For programs
    Json,
}

/// What of a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanTo {
    /// The resources of Envoy
    Envoy,
    /// What a rate limit service is configured with
    Ratelimit,
    /// The resolved configuration
    Bundle,
}

/// What an Envoy has to know of the parts that it calls.
#[derive(Debug, Args)]
#[command(next_help_heading = "Envoy")]
pub(crate) struct EnvoyArguments {
    /// Where an Envoy finds its external processor: HOST:PORT or unix:PATH
    #[arg(long, value_name = "PLACE", default_value = EXTPROC)]
    pub(crate) processor: Spot,
    /// Where an Envoy finds a rate limit service, which then counts the global limits of BackendTrafficPolicies: HOST:PORT or unix:PATH
    #[arg(long, value_name = "PLACE", env = "TOLLGATE_RATE_LIMIT_SERVICE", hide_env_values = true)]
    pub(crate) rate_limit_service: Option<Spot>,
    /// What of callers Envoy's own filters look at first: keys, which it is then sent, tokens, or both with a comma between
    #[arg(
        long,
        value_name = "WHAT",
        env = "TOLLGATE_ENVOY_AUTHENTICATION",
        hide_env_values = true,
        hide_possible_values = true,
        value_delimiter = ','
    )]
    pub(crate) envoy_authentication: Vec<Authentication>,
    /// File on Envoy's machine with the authorities that have signed the parts' certificates
    #[arg(long, value_name = "FILE", requires_all = ["envoy_cert", "envoy_key"])]
    pub(crate) envoy_ca: Option<String>,
    /// File on Envoy's machine with the certificate that it shows to the parts
    #[arg(long, value_name = "FILE", requires_all = ["envoy_ca", "envoy_key"])]
    pub(crate) envoy_cert: Option<String>,
    /// File on Envoy's machine with the key of that certificate
    #[arg(long, value_name = "FILE", requires_all = ["envoy_ca", "envoy_cert"])]
    pub(crate) envoy_key: Option<String>,
    /// Folder on Envoy's machine with what --print-sds prints, by which it follows those files; without it, it reads them when it starts
    #[arg(long, value_name = "FOLDER", requires_all = ["envoy_ca", "envoy_cert", "envoy_key"])]
    pub(crate) envoy_sds: Option<String>,
}

impl EnvoyArguments {
    /// Where it finds what it asks.
    ///
    /// # Errors
    /// When one of the parts is on the network and nothing says how Envoy shows who it is.
    pub(crate) fn parts(&self) -> Result<Parts> {
        let service = self.rate_limit_service.as_ref();
        Ok(Parts {
            processor: self.processor.told(self)?,
            rate_limits: service.map(|service| service.told(self)).transpose()?,
        })
    }

    /// How an Envoy shows who it is, if that is said.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let Self { envoy_ca, envoy_cert, envoy_key, envoy_sds, .. } = self;
        let (authorities, chain, key) = (envoy_ca.clone()?, envoy_cert.clone()?, envoy_key.clone()?);
        Some(Identity { authorities, chain, key, followed: envoy_sds.clone() })
    }
}

/// What of Envoy's files is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrintSds {
    /// Its certificate and key, for certificate.json
    Certificate,
    /// Whom it takes for a part, for authorities.json
    Authorities,
}

/// How Envoys are answered on the network.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArguments {
    /// Certificate to show to Envoys; on the network it is needed
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "client_ca"])]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "client_ca"])]
    pub(crate) tls_key: Option<PathBuf>,
    /// Authorities that have signed the certificates of Envoys
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub(crate) client_ca: Option<PathBuf>,
}

/// `tollgate controlplane`.
#[derive(Debug, Args)]
pub(crate) struct ControlArguments {
    /// Files and folders of Kubernetes YAML
    #[arg(value_name = "PATH", required_unless_present_any = ["print_bootstrap", "print_sds"])]
    pub(crate) paths: Vec<PathBuf>,
    /// Where Envoys ask: ADDRESS:PORT or unix:PATH
    #[arg(long, value_name = "PLACE", env = "TOLLGATE_XDS_LISTEN", hide_env_values = true, default_value = XDS)]
    pub(crate) listen: Spot,
    /// Print what an Envoy is started with and end; with =PLACE where Envoy finds the control plane elsewhere than at --listen
    #[arg(long, value_name = "PLACE", num_args = 0..=1, require_equals = true)]
    pub(crate) print_bootstrap: Option<Option<Spot>>,
    /// Print a file for the folder of --envoy-sds and end
    #[arg(long, value_name = "HALF", requires_all = ["envoy_ca", "envoy_cert", "envoy_key"], conflicts_with = "print_bootstrap")]
    pub(crate) print_sds: Option<PrintSds>,
    /// Address on which Envoys listen for clients; 0.0.0.0 lets other machines in
    #[arg(long, env = "TOLLGATE_ADDRESS", hide_env_values = true, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// Let everybody in where other machines reach and no SecurityPolicy asks who calls
    #[arg(
        long,
        env = "TOLLGATE_ALLOW_ANONYMOUS",
        hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub(crate) allow_anonymous: bool,
    /// Address for operators: /metrics, /healthz, /readyz, /config, /xds
    #[arg(long, value_name = "ADDRESS:PORT", env = "TOLLGATE_ADMIN_ADDRESS", hide_env_values = true, default_value = CONTROL_ADMIN_ADDRESS)]
    pub(crate) admin_address: SocketAddr,
    #[command(flatten)]
    pub(crate) envoy: EnvoyArguments,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
}

/// `tollgate extproc`.
#[derive(Debug, Args)]
pub(crate) struct ExtprocArguments {
    /// Files and folders of Kubernetes YAML
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Where Envoy calls: ADDRESS:PORT or unix:PATH
    #[arg(long, value_name = "PLACE", env = "TOLLGATE_EXTPROC_LISTEN", hide_env_values = true, default_value = EXTPROC)]
    pub(crate) listen: Spot,
    /// Address for operators: /metrics, /healthz, /readyz, /config, /usage with a ledger
    #[arg(long, value_name = "ADDRESS:PORT", env = "TOLLGATE_ADMIN_ADDRESS", hide_env_values = true, default_value = ADMIN_ADDRESS)]
    pub(crate) admin_address: SocketAddr,
    /// The rate limit service that the control plane is told of, if it is: then this process leaves those limits to it
    #[arg(long, value_name = "PLACE", env = "TOLLGATE_RATE_LIMIT_SERVICE", hide_env_values = true)]
    pub(crate) rate_limit_service: Option<Spot>,
    /// What of callers the control plane lets Envoy's own filters look at first: the same as it is told
    #[arg(
        long,
        value_name = "WHAT",
        env = "TOLLGATE_ENVOY_AUTHENTICATION",
        hide_env_values = true,
        hide_possible_values = true,
        value_delimiter = ','
    )]
    pub(crate) envoy_authentication: Vec<Authentication>,
    #[command(flatten)]
    pub(crate) requests: RequestArguments,
    #[command(flatten)]
    pub(crate) tls: TlsArguments,
}
