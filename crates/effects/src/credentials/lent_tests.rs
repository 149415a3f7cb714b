//! Tests of credentials that are lent, each from its configuration to what is shown.

use std::time::Duration;

use tollgate_config::bundle::{
    AwsSource, AzureIdentity, AzureSource, ClientId, Credential, CredentialKind, Limits, Mutation,
    OidcClient, OnLoss, ProxyCredential, Retry, Route, Rule, Schema, SecretRef, Target, Timeouts,
};
use tollgate_terms::{BackendName, RouteName};

use super::service::{Reply, Seen, Service, client, environment};
use super::*;

fn reference(key: &str) -> SecretRef {
    SecretRef { namespace: "default".to_owned(), name: "s".to_owned(), key: key.to_owned() }
}

fn secrets() -> Secrets {
    let values = [("client-secret", "hush\n"), ("client-id", "app-by-ref")];
    values.map(|(key, value)| (reference(key), Secret::new(value.to_owned()))).into_iter().collect()
}

fn client_of(issuer: &str) -> Box<OidcClient> {
    Box::new(OidcClient {
        issuer: issuer.to_owned(),
        token_endpoint: None,
        client_id: ClientId::Secret(reference("client-id")),
        client_secret: reference("client-secret"),
        scopes: vec!["a".to_owned(), "b".to_owned()],
        resources: Vec::new(),
        audience: Some("sts.amazonaws.com".to_owned()),
        grant_type: None,
    })
}

fn azure(source: AzureSource) -> CredentialSource {
    let (client_id, tenant_id) = ("app".to_owned(), "tenant".to_owned());
    CredentialSource::Azure(AzureIdentity { client_id, tenant_id, source })
}

/// What a request shows of a credential from `source`, or that there is none.
async fn shown(source: CredentialSource, secrets: &Secrets, variables: &[(&str, &str)]) -> String {
    shown_behind(None, source, secrets, variables).await
}

/// The same, where routes lead to the backend through a proxy.
async fn shown_behind(
    proxy: Option<ForwardProxy>,
    source: CredentialSource,
    secrets: &Secrets,
    variables: &[(&str, &str)],
) -> String {
    let backend = Backend {
        name: BackendName::new("default/a".to_owned()),
        schema: Schema::Plain,
        endpoints: Vec::new(),
        tls: None,
        credential: Some(Credential {
            kind: CredentialKind::AzureToken,
            configured: Some(source),
            override_headers: Vec::new(),
            fallback_to_configured: true,
        }),
        limits: Limits { connections_max: 1, requests_max: 1, retries_max: 1 },
        ejection: None,
        connect_timeout: Duration::from_secs(1),
        http2_cleartext: false,
        quotas: Vec::new(),
    };
    let bundle = Bundle {
        backends: [(backend.name.clone(), backend.clone())].into_iter().collect(),
        routes: vec![route_to(&backend.name)],
        forward_proxies: proxy.into_iter().map(|proxy| ("l".to_owned(), proxy)).collect(),
        ..Bundle::default()
    };
    let around = Surroundings { environment: environment(variables), client: client() };
    let credentials = Credentials::within(&bundle, secrets, around);
    let proof = match credentials.find(&backend, &[]) {
        Sought::Later(awaited) => awaited.proof().await,
        Sought::Known(_) => return "known".to_owned(),
    };
    match proof {
        None => "none".to_owned(),
        Some(Proof::Secret(secret)) => secret.expose().to_owned(),
        Some(Proof::Keys(keys)) => format!("{} {}", keys.id.expose(), keys.secret.expose()),
    }
}

fn route_to(backend: &BackendName) -> Route {
    let target = Target {
        backend: backend.clone(),
        priority: 0,
        weight: 1,
        model_override: None,
        mutation: Mutation::default(),
    };
    let rule = Rule {
        name: None,
        matches: Vec::new(),
        targets: vec![target],
        timeouts: Timeouts::default(),
        retry: Retry::default(),
        limits: Vec::new(),
        models_owned_by: String::new(),
        models_created_at: 0,
        access: None,
        broken: None,
    };
    Route {
        name: RouteName::new("default/r"),
        listeners: vec!["l".to_owned()],
        hostnames: Vec::new(),
        created_at: 0,
        rules: vec![rule],
        costs: Vec::new(),
        on_loss: OnLoss::default(),
    }
}

/// An OpenID provider, Entra and STS in one.
async fn everybody() -> Service {
    let answer = |seen: &Seen| {
        let url = format!("http://{}", seen.header("host"));
        match seen.path.as_str() {
            "/.well-known/openid-configuration" => {
                Reply::new(200, format!(r#"{{"issuer":"{url}","token_endpoint":"{url}/token"}}"#))
            }
            "/token" => Reply::new(200, r#"{"access_token":"of-issuer","expires_in":300}"#),
            "/tenant/oauth2/v2.0/token" => {
                let by = seen.field("client_secret") + &seen.field("client_assertion");
                Reply::new(200, format!(r#"{{"access_token":"for-{by}","expires_in":3600}}"#))
            }
            "/" if seen.field("WebIdentityToken") == "of-issuer" => Reply::new(
                200,
                "<Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                 <SessionToken>t</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>",
            ),
            _ => Reply::new(404, ""),
        }
    };
    Service::start(answer).await
}

#[tokio::test]
async fn a_token_of_an_openid_provider_becomes_keys_of_a_role() {
    let service = everybody().await;
    let source = CredentialSource::Aws(AwsSource::Oidc {
        client: client_of(&service.url),
        region: "eu-west-1".to_owned(),
        role_arn: "arn:aws:iam::1:role/a".to_owned(),
        session_name: "ai-gateway-b".to_owned(),
    });
    let variables = [("AWS_ENDPOINT_URL_STS", service.url.as_str())];
    assert_eq!(shown(source, &secrets(), &variables).await, "ASIA s");
    let seen = service.seen();
    let [_, token, exchange] = seen.as_slice() else { panic!("{seen:?}") };
    // `app-by-ref:hush`
    assert_eq!(token.header("authorization"), "Basic YXBwLWJ5LXJlZjpodXNo");
    assert_eq!(
        (token.field("scope").as_str(), token.field("audience").as_str()),
        ("a b", "sts.amazonaws.com")
    );
    assert_eq!(exchange.field("RoleSessionName"), "ai-gateway-b");
}

#[tokio::test]
async fn an_application_of_azure_gets_a_token_in_every_way() {
    let service = everybody().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "of-file\n").expect("a file");
    let variables = [
        ("AZURE_AUTHORITY_HOST", service.url.as_str()),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().expect("a path")),
    ];
    for (source, expected) in [
        (AzureSource::ClientSecret(reference("client-secret")), "for-hush"),
        (AzureSource::Oidc(client_of(&service.url)), "for-of-issuer"),
        (AzureSource::Environment, "for-of-file"),
    ] {
        assert_eq!(shown(azure(source), &secrets(), &variables).await, expected);
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_at_once() {
    let source = azure(AzureSource::ClientSecret(reference("absent")));
    assert_eq!(shown(source, &secrets(), &[]).await, "none");
}

#[tokio::test]
async fn a_token_is_fetched_through_the_proxy_to_its_backend() {
    let answer = |seen: &Seen| match seen.path.as_str() {
        "http://entra.invalid/tenant/oauth2/v2.0/token" | "/tenant/oauth2/v2.0/token" => {
            Reply::new(200, r#"{"access_token":"for-us","expires_in":3600}"#)
        }
        _ => Reply::new(404, ""),
    };
    let (through, around) = (Service::start(answer).await, Service::start(answer).await);
    let (host, port) = through.host().rsplit_once(':').expect("a port");
    let credential = ProxyCredential::Pair { username: reference("user"), password: reference("password") };
    let proxy = ForwardProxy {
        host: host.to_owned(),
        port: port.parse().expect("a port"),
        tls: None,
        credential: Some(credential),
        bypass: vec!["127.0.0.1".to_owned()],
    };
    let values = ["user", "password"].map(|key| (reference(key), Secret::new(key.to_owned())));
    let known = secrets().with(values.into_iter().collect());
    let source = || azure(AzureSource::ClientSecret(reference("client-secret")));
    let shown = async |secrets: &Secrets, authority: &str| {
        let variables = [("AZURE_AUTHORITY_HOST", authority)];
        shown_behind(Some(proxy.clone()), source(), secrets, &variables).await
    };
    assert_eq!(shown(&known, "http://entra.invalid").await, "for-us");
    let seen = through.only();
    assert_eq!(seen.header("proxy-authorization"), "Basic dXNlcjpwYXNzd29yZA==");
    // What bypasses the proxy is asked itself, and nobody where the proxy cannot be.
    assert_eq!(shown(&known, &around.url).await, "for-us");
    assert_eq!(around.only().path, "/tenant/oauth2/v2.0/token");
    assert_eq!(shown(&secrets(), &around.url).await, "known");
    assert_eq!((through.seen().len(), around.seen().len()), (1, 1));
}
