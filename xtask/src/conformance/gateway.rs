//! The binary with the folder's resources, whose addresses are replaced by the provider's.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::DataPlane;
use super::provider::Provider;
use crate::{envoy, release, yaml};

/// Schemas that the gateway serves; cases that need another one are counted apart.
const SERVED: [&str; 8] = [
    "OpenAI",
    "AzureOpenAI",
    "Anthropic",
    "Cohere",
    "AWSBedrock",
    "AWSAnthropic",
    "GCPVertexAI",
    "GCPAnthropic",
];

/// How long the binary may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running gateway; it ends when dropped.
pub(super) struct Gateway {
    child: Child,
    pub(super) port: u16,
    /// Schemas behind each value of the header that picks a backend.
    schemas: BTreeMap<String, Vec<String>>,
}

impl Gateway {
    pub(super) fn start(root: &Path, folder: &Path, provider: &Provider, plane: DataPlane) -> Result<Self> {
        let path = folder.join("gateway.yaml");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let schemas = schemas(&yaml::documents(&text)?);
        let (port, admin_port) = (free_port()?, free_port()?);
        let text = text
            .replace("port: 18080", &format!("port: {}", provider.port))
            .replace("port: 18081", &format!("port: {}", provider.failing_port))
            .replace("port: 18000", &format!("port: {port}"));
        let target = root.join("target/conformance");
        fs::create_dir_all(&target)?;
        let resources = target.join("gateway.yaml");
        fs::write(&resources, text)?;
        let log = fs::File::create(target.join("gateway.log"))?;
        let mut command = Command::new(root.join(release::GATEWAY));
        command.arg("run");
        match plane {
            DataPlane::Embedded => command.args(["--data-plane", "embedded"]),
            DataPlane::Envoy => {
                command.args(["--data-plane", "envoy", "--envoy"]).arg(envoy::install_alone(root)?)
            }
        };
        let child = command
            .args(["--access-log", "off", "--admin-address", &format!("127.0.0.1:{admin_port}")])
            .arg(&resources)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the binary")?;
        let mut gateway = Self { child, port, schemas };
        gateway.wait()?;
        Ok(gateway)
    }

    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the gateway has ended with {status}: see target/conformance/gateway.log");
            }
            if Instant::now() > until {
                bail!("the gateway does not listen: see target/conformance/gateway.log");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What a case for `backend` needs that is not served yet.
    pub(super) fn missing(&self, backend: &str) -> Option<String> {
        let schemas = self.schemas.get(backend)?;
        schemas
            .iter()
            .find(|schema| !SERVED.contains(&schema.as_str()))
            .map(|schema| format!("schema {schema}"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port")?.local_addr()?.port())
}

/// The schemas of the backends of each rule, by the value of the header that the rule wants.
fn schemas(documents: &[Value]) -> BTreeMap<String, Vec<String>> {
    let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    let by_name: BTreeMap<&str, &str> = of_kind("AIServiceBackend")
        .filter_map(|backend| {
            Some((backend["metadata"]["name"].as_str()?, backend["spec"]["schema"]["name"].as_str()?))
        })
        .collect();
    let mut schemas = BTreeMap::new();
    for rule in of_kind("AIGatewayRoute").filter_map(|route| route["spec"]["rules"].as_array()).flatten() {
        let names =
            rule["backendRefs"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
        let of_rule: Vec<String> =
            names.filter_map(|name| by_name.get(name)).map(|&name| name.to_owned()).collect();
        let value = rule.pointer("/matches/0/headers/0/value").and_then(Value::as_str);
        schemas.insert(value.unwrap_or_default().to_owned(), of_rule);
    }
    schemas
}
