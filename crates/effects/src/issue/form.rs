//! Forms (`application/x-www-form-urlencoded`) whose values may be secret.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tollgate_terms::Secret;

/// Only RFC 3986's unreserved characters are left as they are, and blanks become `%20`: that is read alike everywhere,
/// and serves in paths and queries too.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The fields of a form, in order.
#[derive(Default)]
pub(super) struct Form<'a> {
    text: String,
    hidden: Vec<&'a Secret>,
}

impl<'a> Form<'a> {
    /// Adds a field that anyone may see.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        self.text.extend(utf8_percent_encode(name, FORM));
        self.text.push('=');
        self.text.extend(utf8_percent_encode(value, FORM));
        self
    }

    /// Adds a field that nobody else may see.
    #[must_use]
    pub(super) fn with_secret(mut self, name: &str, value: &'a Secret) -> Self {
        self.hidden.push(value);
        self.with(name, value.expose())
    }

    /// The encoded form.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The values that a service may repeat and nobody may see.
    pub(super) fn hidden(&self) -> &[&'a Secret] {
        &self.hidden
    }
}

/// `value` as it may stand in a form, in one segment of a path and in the value of a query.
pub(super) fn escaped(value: &str) -> String {
    utf8_percent_encode(value, FORM).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_escaped() {
        let secret = Secret::new("a+b&c=ü".to_owned());
        let form = Form::default().with("scope", "a b").with_secret("client_secret", &secret);
        assert_eq!(form.text(), "scope=a%20b&client_secret=a%2Bb%26c%3D%C3%BC");
        assert_eq!(form.hidden().len(), 1);
    }
}
