//! Where a Redis is, as an operator writes it.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult, TlsCertificates, TlsMode, Value,
};
use tokio::sync::Mutex;
use tollgate_terms::Secret;

/// The port of a Redis, and that of a sentinel.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where a Redis is, and who asks it.
///
/// `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]` is one; `rediss` speaks TLS. With `redis+cluster` or `rediss+cluster` it is a cluster, of which some
/// nodes are named, with commas between them; with `redis+sentinel` or `rediss+sentinel` its master is asked of the sentinels that are named, as
/// `redis+sentinel://HOST,HOST/SERVICE[/DATABASE]`. Sentinels are asked without a password. User and password are percent-encoded.
pub struct RedisPlace {
    kind: Kind,
    nodes: Vec<(String, u16)>,
    wire: Wire,
    user: Option<String>,
    password: Option<Secret>,
    database: i64,
}

enum Kind {
    One,
    Sentinel { service: String },
    Cluster,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Plain,
    Tls,
}

/// The address of a Redis cannot be used. Says nothing of what may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisPlaceError {
    /// It begins with something else.
    #[error(
        "the address of a Redis begins with redis:// or rediss://, or with one of them before +sentinel or +cluster"
    )]
    Scheme,
    /// It names no host, or a port that is none.
    #[error("expected HOST or HOST:PORT in the address of a Redis")]
    Host,
    /// Sentinels have to be asked for something.
    #[error("expected the name of a service after the hosts of sentinels")]
    Service,
    /// Its database is not a number, or a cluster has one.
    #[error("expected the number of a database at the end of the address of a Redis, and none for a cluster")]
    Database,
    /// The certificates of authorities, or something else, cannot be used.
    #[error("a Redis cannot be asked: {0}")]
    Client(String),
    /// The system has no thread for it.
    #[error("no thread for a Redis: {0}")]
    Thread(String),
}

impl RedisPlace {
    /// Reads an address.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(address: &str) -> Result<Self, RedisPlaceError> {
        let (scheme, rest) = address.split_once("://").ok_or(RedisPlaceError::Scheme)?;
        let (wire, variant) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis", variant) => (Wire::Plain, variant),
            ("rediss", variant) => (Wire::Tls, variant),
            _ => return Err(RedisPlaceError::Scheme),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (caller, hosts) = place.rsplit_once('@').unwrap_or(("", place));
        let (user, password) = caller.split_once(':').unwrap_or((caller, ""));
        let (kind, database) = match variant {
            "" => (Kind::One, path),
            "cluster" => (Kind::Cluster, path),
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(RedisPlaceError::Service);
                }
                (Kind::Sentinel { service: service.to_owned() }, database)
            }
            _ => return Err(RedisPlaceError::Scheme),
        };
        let database = match (database, &kind) {
            ("", _) => 0,
            (_, Kind::Cluster) => return Err(RedisPlaceError::Database),
            (number, _) => number.parse().map_err(|_| RedisPlaceError::Database)?,
        };
        let port = if matches!(kind, Kind::Sentinel { .. }) { SENTINEL_PORT } else { PORT };
        let nodes: Vec<_> = hosts
            .split(',')
            .map(|host| node(host, port))
            .collect::<Option<_>>()
            .ok_or(RedisPlaceError::Host)?;
        if matches!(kind, Kind::One) && nodes.len() != 1 {
            return Err(RedisPlaceError::Host);
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Ok(Self {
            kind,
            nodes,
            wire,
            user: (!user.is_empty()).then(|| decoded(user)),
            password: (!password.is_empty()).then(|| Secret::new(decoded(password))),
            database,
        })
    }

    /// What connects to it. `authorities` are certificates in PEM, which are trusted instead of those of the machine.
    pub(super) fn opener(&self, authorities: Option<&[u8]>) -> Result<Opener, RedisPlaceError> {
        let certificates =
            authorities.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) });
        let tls = (self.wire == Wire::Tls).then_some(TlsMode::Secure);
        let opened = match &self.kind {
            Kind::One => self.client(certificates).map(Opener::One),
            Kind::Sentinel { service } => {
                self.sentinels(service, tls, certificates).map(|client| Opener::Sentinel(Mutex::new(client)))
            }
            Kind::Cluster => self.cluster(tls, certificates).map(Opener::Cluster),
        };
        opened.map_err(|error| RedisPlaceError::Client(error.to_string()))
    }

    fn client(&self, certificates: Option<TlsCertificates>) -> RedisResult<Client> {
        let addr = self.addresses().next().ok_or((redis::ErrorKind::InvalidClientConfig, "no host"))?;
        let info = ConnectionInfo { addr, redis: self.caller() };
        match (self.wire, certificates) {
            (Wire::Tls, Some(certificates)) => Client::build_with_tls(info, certificates),
            (Wire::Plain | Wire::Tls, _) => Client::open(info),
        }
    }

    fn sentinels(
        &self,
        service: &str,
        tls: Option<TlsMode>,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<SentinelClient> {
        let mut builder =
            SentinelClientBuilder::new(self.addresses(), service.to_owned(), SentinelServerType::Master)?
                .set_client_to_redis_db(self.database);
        if let Some(mode) = tls {
            builder = builder.set_client_to_redis_tls_mode(mode).set_client_to_sentinel_tls_mode(mode);
        }
        if let Some(certificates) = certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates);
        }
        if let Some(user) = &self.user {
            builder = builder.set_client_to_redis_username(user.clone());
        }
        if let Some(password) = &self.password {
            builder = builder.set_client_to_redis_password(password.expose().to_owned());
        }
        builder.build()
    }

    fn cluster(
        &self,
        tls: Option<TlsMode>,
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<ClusterClient> {
        let nodes: Vec<ConnectionInfo> =
            self.addresses().map(|addr| ConnectionInfo { addr, redis: self.caller() }).collect();
        // What fails is tried again by who knows whether that is of use.
        let mut builder = ClusterClient::builder(nodes).retries(1).connection_timeout(super::OPEN_MAX);
        if let Some(mode) = tls {
            builder = builder.tls(mode);
        }
        if let Some(certificates) = certificates {
            builder = builder.certs(certificates);
        }
        builder.build()
    }

    fn addresses(&self) -> impl Iterator<Item = ConnectionAddr> {
        self.nodes.iter().map(|(host, port)| match self.wire {
            Wire::Plain => ConnectionAddr::Tcp(host.clone(), *port),
            Wire::Tls => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
        })
    }

    fn caller(&self) -> RedisConnectionInfo {
        RedisConnectionInfo {
            db: self.database,
            username: self.user.clone(),
            password: self.password.as_ref().map(|password| password.expose().to_owned()),
            protocol: ProtocolVersion::RESP2,
        }
    }
}

impl fmt::Debug for RedisPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RedisPlace").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// Host and port of `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
fn node(text: &str, port: u16) -> Option<(String, u16)> {
    let (host, given) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = given.map_or(Some(port), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// What connects to a Redis.
pub(super) enum Opener {
    One(Client),
    Sentinel(Mutex<SentinelClient>),
    Cluster(ClusterClient),
}

/// A connection to a Redis. Its copies share it.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Opener {
    /// Connects. Whoever asks brings the deadline.
    pub(super) async fn open(&self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(super::OPEN_MAX).set_tcp_settings(
            redis::io::tcp::TcpSettings::default().set_nodelay(true).set_keepalive(keepalive()),
        );
        match self {
            Self::One(client) => {
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::One)
            }
            Self::Sentinel(client) => {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&config).await.map(Connection::One)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

/// A machine that is gone without a word is noticed.
fn keepalive() -> redis::io::tcp::socket2::TcpKeepalive {
    redis::io::tcp::socket2::TcpKeepalive::new().with_time(Duration::from_secs(15))
}

impl Connection {
    /// Asks, and waits for the answer without a bound.
    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}
