//! Credentials that requests are signed with, or that are exchanged for a token: of AWS, Azure and Google Cloud.

use tollgate_config::bundle::{
    AwsSource, AzureIdentity, AzureSource, ClientId, CredentialKind, CredentialSource, GoogleFederation,
    GoogleSource, OidcClient, profile_keys,
};
use tollgate_manifest::{
    AwsCredentials, AwsOidcExchangeToken, AzureCredentials, GcpCredentials, GcpWorkloadIdentityFederation,
    Oidc,
};

use super::reference::Policy;
use crate::findings::Findings;

/// The key of a shared credentials file of AWS in its Secret.
const CREDENTIALS_FILE: &str = "credentials";

/// The key of a client's secret in its Secret.
const CLIENT_SECRET: &str = "client-secret";

/// The key of a client's id in its Secret, as in Envoy Gateway.
const CLIENT_ID: &str = "client-id";

/// The key of a service account of Google Cloud in its Secret.
const SERVICE_ACCOUNT: &str = "service_account.json";

/// The longest name of a session. Source: AWS, API reference of `AssumeRoleWithWebIdentity`.
const SESSION_NAME_BYTES_MAX: usize = 64;

/// How a credential is shown, and where it comes from.
pub(super) type Identity = (CredentialKind, CredentialSource);

impl Policy<'_> {
    /// What `awsCredentials` says.
    pub(super) fn aws(&self, written: &AwsCredentials, findings: &mut Findings) -> Result<Identity, String> {
        let path = "spec.awsCredentials";
        let region = self.region(path, &written.region, findings);
        let source = match (&written.credentials_file, &written.oidc_exchange_token) {
            (Some(_), Some(_)) => Err(self.mistake(
                path,
                "expected one of credentialsFile and oidcExchangeToken, or none for those of the environment",
                findings,
            )),
            (Some(file), None) => {
                let profile = &file.profile;
                let has_keys = |text: &str| {
                    profile_keys(text, profile).map(drop).map_err(|error| format!("has {error}"))
                };
                let path = format!("{path}.credentialsFile.secretRef");
                let file = self.secret(&path, &file.secret_ref, (CREDENTIALS_FILE, &has_keys), findings);
                file.map(|file| AwsSource::CredentialsFile { file, profile: profile.clone() })
            }
            (None, Some(exchange)) => {
                self.aws_exchange(&format!("{path}.oidcExchangeToken"), exchange, &written.region, findings)
            }
            (None, None) => Ok(AwsSource::Environment),
        };
        Ok((CredentialKind::AwsSignature { region: region? }, CredentialSource::Aws(source?)))
    }

    fn aws_exchange(
        &self,
        path: &str,
        written: &AwsOidcExchangeToken,
        region: &str,
        findings: &mut Findings,
    ) -> Result<AwsSource, String> {
        let rest = (&written.aud, &written.grant_type);
        let client = self.client(&format!("{path}.oidc"), &written.oidc, rest, findings);
        let role_arn = written.aws_role_arn.clone();
        if !role_arn.starts_with("arn:") {
            let message = "expected the ARN of a role, such as arn:aws:iam::123456789012:role/name";
            return Err(self.mistake(&format!("{path}.awsRoleArn"), message, findings));
        }
        let mut session_name = format!("ai-gateway-{}", self.item.id.name);
        // Names of objects are ASCII.
        session_name.truncate(SESSION_NAME_BYTES_MAX);
        Ok(AwsSource::Oidc { client: Box::new(client?), region: region.to_owned(), role_arn, session_name })
    }

    /// What `azureCredentials` says.
    pub(super) fn azure(
        &self,
        written: &AzureCredentials,
        findings: &mut Findings,
    ) -> Result<Identity, String> {
        let path = "spec.azureCredentials";
        let source = match (&written.client_secret_ref, &written.oidc_exchange_token) {
            (Some(_), Some(_)) => {
                let message = "expected one of clientSecretRef and oidcExchangeToken, or none for the identity of the process";
                Err(self.mistake(path, message, findings))
            }
            (Some(reference), None) => {
                let path = format!("{path}.clientSecretRef");
                let secret = self.secret(&path, reference, (CLIENT_SECRET, &|_| Ok(())), findings);
                secret.map(AzureSource::ClientSecret)
            }
            (None, Some(exchange)) => {
                let rest = (&exchange.aud, &exchange.grant_type);
                let path = format!("{path}.oidcExchangeToken.oidc");
                self.client(&path, &exchange.oidc, rest, findings)
                    .map(|client| AzureSource::Oidc(Box::new(client)))
            }
            (None, None) => Ok(AzureSource::Environment),
        };
        let identity = AzureIdentity {
            client_id: written.client_id.clone(),
            tenant_id: written.tenant_id.clone(),
            source: source?,
        };
        Ok((CredentialKind::AzureToken, CredentialSource::Azure(identity)))
    }

    /// What `gcpCredentials` says.
    pub(super) fn google(
        &self,
        written: &GcpCredentials,
        findings: &mut Findings,
    ) -> Result<Identity, String> {
        let path = "spec.gcpCredentials";
        let project = written.project_name.clone();
        let region = self.region(path, &written.region, findings);
        let source = match (&written.credentials_file, &written.workload_identity_federation_config) {
            (Some(_), Some(_)) => {
                let message = "expected one of credentialsFile and workloadIdentityFederationConfig, or none for those of the environment";
                Err(self.mistake(path, message, findings))
            }
            (Some(file), None) => {
                let path = format!("{path}.credentialsFile.secretRef");
                let key = (SERVICE_ACCOUNT, &is_service_account as super::reference::Check<'_>);
                self.secret(&path, &file.secret_ref, key, findings).map(GoogleSource::ServiceAccount)
            }
            (None, Some(federation)) => {
                let path = format!("{path}.workloadIdentityFederationConfig");
                self.federation(&path, federation, &project, findings)
                    .map(|it| GoogleSource::Federation(Box::new(it)))
            }
            (None, None) => Ok(GoogleSource::Environment),
        };
        let kind = CredentialKind::GoogleToken { project, region: region? };
        Ok((kind, CredentialSource::Google(source?)))
    }

    fn federation(
        &self,
        path: &str,
        written: &GcpWorkloadIdentityFederation,
        project: &str,
        findings: &mut Findings,
    ) -> Result<GoogleFederation, String> {
        let exchange = &written.oidc_exchange_token;
        let rest = (&exchange.aud, &exchange.grant_type);
        let client =
            self.client(&format!("{path}.oidcExchangeToken.oidc"), &exchange.oidc, rest, findings)?;
        let account = written.service_account_impersonation.as_ref();
        Ok(GoogleFederation {
            project_id: written.project_id.clone(),
            pool: written.workload_identity_pool_name.clone(),
            provider: written.workload_identity_provider_name.clone(),
            client,
            impersonate: account
                .map(|account| format!("{}@{project}.iam.gserviceaccount.com", account.service_account_name)),
        })
    }

    fn client(
        &self,
        path: &str,
        written: &Oidc,
        (audience, grant_type): (&Option<String>, &Option<String>),
        findings: &mut Findings,
    ) -> Result<OidcClient, String> {
        let provider = &written.provider;
        let issuer = self.url(&format!("{path}.provider.issuer"), &provider.issuer, findings);
        let token_endpoint = provider.token_endpoint.as_ref();
        let token_endpoint =
            token_endpoint.map(|url| self.url(&format!("{path}.provider.tokenEndpoint"), url, findings));
        let any = |_: &str| Ok(());
        let client_id = match (&written.client_id, &written.client_id_ref) {
            (Some(id), None) => Ok(ClientId::Written(id.clone())),
            (None, Some(reference)) => {
                let path = format!("{path}.clientIDRef");
                self.secret(&path, reference, (CLIENT_ID, &any), findings).map(ClientId::Secret)
            }
            _ => Err(self.mistake(path, "expected one of clientID and clientIDRef", findings)),
        };
        let at = format!("{path}.clientSecret");
        let client_secret = self.secret(&at, &written.client_secret, (CLIENT_SECRET, &any), findings);
        Ok(OidcClient {
            issuer: issuer?,
            token_endpoint: token_endpoint.transpose()?,
            client_id: client_id?,
            client_secret: client_secret?,
            scopes: written.scopes.clone(),
            resources: written.resources.clone(),
            audience: audience.clone(),
            grant_type: grant_type.clone(),
        })
    }

    fn url(&self, path: &str, written: &str, findings: &mut Findings) -> Result<String, String> {
        let is_url = written
            .parse::<http::Uri>()
            .is_ok_and(|uri| matches!(uri.scheme_str(), Some("https" | "http")) && uri.authority().is_some());
        if is_url {
            return Ok(written.to_owned());
        }
        Err(self.mistake(path, format!("expected an https URL instead of {written:?}"), findings))
    }

    /// A region stands in addresses and in what is signed.
    fn region(&self, path: &str, written: &str, findings: &mut Findings) -> Result<String, String> {
        if written.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            return Ok(written.to_owned());
        }
        let message = format!("expected a region such as us-east-1 instead of {written:?}");
        Err(self.mistake(&format!("{path}.region"), message, findings))
    }
}

fn is_service_account(text: &str) -> Result<(), String> {
    let key: serde_json::Value = serde_json::from_str(text).map_err(|_| "is not JSON".to_owned())?;
    for member in ["client_email", "private_key"] {
        if key.get(member).and_then(serde_json::Value::as_str).is_none() {
            return Err(format!("is not a service account key: it has no {member}"));
        }
    }
    Ok(())
}
