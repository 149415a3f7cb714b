//! Errors as AWS tells them. No client speaks this dialect, so they are only read: the message in the body, the type in the
//! header `x-amzn-errortype`.
//!
//! Source: botocore, `RestJSONParser`.

/// The type of an error, without the namespace and the link that AWS may write around it.
pub(crate) fn kind(header: &str) -> &str {
    let kind = header.split(':').next().unwrap_or_default();
    kind.rsplit('#').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_type_alone() {
        for header in [
            "ThrottlingException",
            "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/",
            "com.amazon.bedrock#ThrottlingException",
        ] {
            assert_eq!(kind(header), "ThrottlingException");
        }
    }
}
