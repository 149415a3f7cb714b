//! Secrets whose values AWS Secrets Manager keeps: what their annotations say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tollgate_config::bundle::{Backend, RemoteSecret};
use tollgate_manifest::{GatewayDuration, Secret};

use crate::findings::Findings;
use crate::index::{Index, Item};

/// What all of the annotations begin with.
const PREFIX: &str = "tollgate.dev/aws-";
/// Name or ARN of the secret that is kept there.
const SECRET: &str = "tollgate.dev/aws-secret";
/// The region that it is kept in; an ARN tells it too.
const REGION: &str = "tollgate.dev/aws-region";
/// How long a value is used before it is asked for again.
const REFRESH: &str = "tollgate.dev/aws-refresh";

const REFRESH_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Who is asked wants money for every question.
const REFRESH_MIN: Duration = Duration::from_secs(1);

/// An annotation, and what is wrong with it.
type Mistake = (&'static str, String);

/// Checks all Secrets, and gives those that `backends` need and that are kept elsewhere, by `namespace/name`.
pub(crate) fn remote_secrets<'b>(
    index: &Index<'_>,
    backends: impl Iterator<Item = &'b Backend>,
    findings: &mut Findings,
) -> BTreeMap<String, RemoteSecret> {
    let sources = backends.filter_map(|backend| backend.credential.as_ref()?.configured.as_ref());
    let needed: BTreeSet<_> = sources
        .flat_map(|source| source.secrets())
        .map(|reference| format!("{}/{}", reference.namespace, reference.name))
        .collect();
    let mut remote = BTreeMap::new();
    for secret in index.secrets.iter() {
        warn(secret, findings);
        match read(secret.spec) {
            Ok(Some(found)) if needed.contains(&secret.full_name()) => {
                remote.insert(secret.full_name(), found);
            }
            Ok(_) => {}
            Err((annotation, message)) => findings.error(&secret.id, path(annotation), message),
        }
    }
    remote
}

/// Where the values of `secret` are kept; `Ok(None)` if in itself.
///
/// # Errors
/// The first annotation that is mistaken. Nobody knows then what was meant.
pub(crate) fn read(secret: &Secret) -> Result<Option<RemoteSecret>, Mistake> {
    let annotation = |name| secret.metadata.annotations.get(name).map(|value| value.trim());
    let Some(id) = annotation(SECRET) else { return Ok(None) };
    if id.is_empty() {
        return Err((SECRET, "expected the name or ARN of a secret in AWS Secrets Manager".to_owned()));
    }
    let region = region(id, annotation(REGION))?;
    let refresh = match annotation(REFRESH) {
        None => REFRESH_DEFAULT,
        Some(text) => GatewayDuration::parse(text).map_err(|message| (REFRESH, message))?.get(),
    };
    if refresh < REFRESH_MIN {
        return Err((REFRESH, "expected at least 1s".to_owned()));
    }
    Ok(Some(RemoteSecret { id: id.to_owned(), region: region.to_owned(), refresh }))
}

/// The region that `id` tells, or the annotation.
fn region<'a>(id: &'a str, written: Option<&'a str>) -> Result<&'a str, Mistake> {
    let told = if id.starts_with("arn:") { Some(region_of_arn(id)?) } else { None };
    match (told, written) {
        (None, None) => {
            let message = format!("expected the annotation {REGION} beside it: a name tells no region");
            Err((SECRET, message))
        }
        (Some(told), Some(written)) if told != written => {
            Err((REGION, format!("expected {told:?}, as the ARN in {SECRET} says, or nothing")))
        }
        (Some(region), _) | (None, Some(region)) if is_region(region) => Ok(region),
        (_, region) => {
            let region = region.unwrap_or_default();
            Err((REGION, format!("expected a region such as us-east-1 instead of {region:?}")))
        }
    }
}

/// Source: AWS Secrets Manager User Guide, `arn:<partition>:secretsmanager:<region>:<account>:secret:<name>-<six characters>`.
fn region_of_arn(id: &str) -> Result<&str, Mistake> {
    let mut parts = id.splitn(7, ':').skip(2);
    let (service, region, kind) = (parts.next(), parts.next(), parts.nth(1));
    match (service, region, kind, parts.next()) {
        (Some("secretsmanager"), Some(region), Some("secret"), Some(_)) if is_region(region) => Ok(region),
        _ => {
            let message = "expected the ARN of a secret, such as arn:aws:secretsmanager:us-east-1:123456789012:secret:name-a1b2c3";
            Err((SECRET, message.to_owned()))
        }
    }
}

/// A region stands in addresses and in what is signed.
fn is_region(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_part)
}

/// Names what has no effect.
fn warn(secret: &Item<'_, Secret>, findings: &mut Findings) {
    let annotations = &secret.metadata.annotations;
    let is_remote = annotations.contains_key(SECRET);
    for name in annotations.keys().filter(|name| name.starts_with(PREFIX)) {
        if ![SECRET, REGION, REFRESH].contains(&name.as_str()) {
            let message = format!("unknown: expected {SECRET}, {REGION} or {REFRESH}");
            findings.warning(&secret.id, path(name), message);
        } else if !is_remote {
            findings.warning(&secret.id, path(name), format!("has no effect without {SECRET}"));
        }
    }
    if is_remote && !secret.spec.data.is_empty() {
        let keys: Vec<_> = secret.spec.data.keys().map(|key| format!("{key:?}")).collect();
        let message = format!(
            "no credential is taken from the Secret's own keys ({}): those in AWS Secrets Manager count",
            keys.join(", ")
        );
        findings.warning(&secret.id, path(SECRET), message);
    }
}

fn path(annotation: &str) -> String {
    format!("metadata.annotations[{annotation:?}]")
}
