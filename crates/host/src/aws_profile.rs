//! Shared credentials and config files of AWS: keys and settings by profile.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files".

use tollgate_terms::Secret;

use crate::signature::SigningKeys;

/// Why a file has no keys for a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The profile is not there.
    #[error("no profile {0:?}")]
    Absent(String),
    /// A setting is not there, or empty.
    #[error("no {setting} in profile {profile:?}")]
    Incomplete {
        /// The profile.
        profile: String,
        /// The setting.
        setting: &'static str,
    },
    /// The keys are to come from elsewhere.
    #[error("{setting} in profile {profile:?}, which is not served: expected keys in the file itself")]
    NotServed {
        /// The profile.
        profile: String,
        /// The setting that says from where.
        setting: String,
    },
}

/// Settings that say that keys come from elsewhere.
const ELSEWHERE: [&str; 4] = ["role_arn", "credential_process", "sso_session", "sso_start_url"];

/// The keys of `profile` in the shared credentials file `text`.
///
/// # Errors
/// When it has none.
pub fn profile_keys(text: &str, profile: &str) -> Result<SigningKeys, ProfileError> {
    let found = AwsProfile::find(&[text], profile).ok_or_else(|| ProfileError::Absent(profile.to_owned()))?;
    if found.get(KEY_ID).is_none()
        && let Some(elsewhere) = ELSEWHERE.into_iter().find(|elsewhere| found.get(elsewhere).is_some())
    {
        return Err(ProfileError::NotServed { profile: profile.to_owned(), setting: elsewhere.to_owned() });
    }
    found.keys()
}

const KEY_ID: &str = "aws_access_key_id";

/// The settings of a profile, or of another section of a config file.
#[derive(Clone)]
pub struct AwsProfile<'a> {
    name: &'a str,
    settings: Vec<(&'a str, &'a str)>,
}

impl<'a> AwsProfile<'a> {
    /// The profile `name` in files of which the later ones count more; `None` where no file has it. A section of another kind is found
    /// by its kind and name, as in `sso-session dev`.
    pub fn find(files: &[&'a str], name: &'a str) -> Option<Self> {
        let found: Vec<_> = files.iter().filter_map(|text| settings(text, name)).collect();
        (!found.is_empty()).then(|| Self { name, settings: found.concat() })
    }

    /// What it is called.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// A setting; an empty one counts as none.
    pub fn get(&self, wanted: &str) -> Option<&'a str> {
        let mut found = self.settings.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next_back().map(|(_, value)| *value).filter(|value| !value.is_empty())
    }

    /// A setting without which nothing goes on.
    ///
    /// # Errors
    /// When it is not there.
    pub fn required(&self, wanted: &'static str) -> Result<&'a str, ProfileError> {
        let absent = || ProfileError::Incomplete { profile: self.name.to_owned(), setting: wanted };
        self.get(wanted).ok_or_else(absent)
    }

    /// Whether it has keys itself.
    pub fn has_keys(&self) -> bool {
        self.get(KEY_ID).is_some()
    }

    /// The keys that it has itself.
    ///
    /// # Errors
    /// When there are none, or half of them.
    pub fn keys(&self) -> Result<SigningKeys, ProfileError> {
        let secret = |value: &str| Secret::new(value.to_owned());
        Ok(SigningKeys {
            id: self.required(KEY_ID).map(secret)?,
            secret: self.required("aws_secret_access_key").map(secret)?,
            token: self.get("aws_session_token").map(secret),
        })
    }
}

/// The settings of all sections that are called `[profile]` or, as in a config file, `[profile profile]`.
fn settings<'a>(text: &'a str, profile: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let mut found = None;
    let mut is_inside = false;
    for line in text.trim_start_matches('\u{feff}').lines() {
        // An indented line belongs to the setting above it.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let name = section.split(']').next().unwrap_or_default().trim();
            let name = name.strip_prefix("profile ").unwrap_or(name).trim();
            is_inside = name == profile;
            if is_inside {
                found.get_or_insert_with(Vec::new);
            }
        } else if is_inside && let Some((name, value)) = line.split_once('=') {
            found.get_or_insert_with(Vec::new).push((name.trim(), value_of(value)));
        }
    }
    found
}

/// A value ends where a comment begins: at white space before `#` or `;`.
fn value_of(text: &str) -> &str {
    let ends = [" #", " ;", "\t#", "\t;"].into_iter().filter_map(|mark| text.find(mark));
    ends.min().and_then(|end| text.get(..end)).unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# keys\n[default]\naws_access_key_id = AKID1\naws_secret_access_key=s/1+= # mine\n\n\
        [ team-a ]\nAWS_ACCESS_KEY_ID=AKID2\naws_secret_access_key=s2\naws_session_token = t2==\ns3 =\n  nested = 1\n\
        [half]\naws_access_key_id=AKID3\n[role]\nrole_arn=arn:aws:iam::1:role/a\nsource_profile=default\n";

    fn found(profile: &str) -> Result<(String, String, Option<String>), ProfileError> {
        let keys = profile_keys(FILE, profile)?;
        let text = |secret: &Secret| secret.expose().to_owned();
        Ok((text(&keys.id), text(&keys.secret), keys.token.as_ref().map(text)))
    }

    #[test]
    fn finds_the_keys_of_a_profile() {
        assert_eq!(found("default"), Ok(("AKID1".to_owned(), "s/1+=".to_owned(), None)));
        assert_eq!(found("team-a"), Ok(("AKID2".to_owned(), "s2".to_owned(), Some("t2==".to_owned()))));
    }

    #[test]
    fn says_what_is_missing() {
        let message = |profile| found(profile).map_err(|error| error.to_string());
        assert_eq!(message("other"), Err("no profile \"other\"".to_owned()));
        assert_eq!(message("half"), Err("no aws_secret_access_key in profile \"half\"".to_owned()));
        let role = "role_arn in profile \"role\", which is not served: expected keys in the file itself";
        assert_eq!(message("role"), Err(role.to_owned()));
    }
}
