//! Label selectors of Kubernetes.

use std::collections::BTreeMap;

use tollgate_manifest::LabelSelectorRequirement;

/// Whether `labels` meet every condition. A condition of an unknown sort is not met.
pub(crate) fn selects(
    match_labels: &BTreeMap<String, String>,
    match_expressions: &[LabelSelectorRequirement],
    labels: &BTreeMap<String, String>,
) -> bool {
    match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && match_expressions.iter().all(|requirement| meets(requirement, labels))
}

fn meets(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let is_among = || value.is_some_and(|value| requirement.values.contains(value));
    match requirement.operator.as_str() {
        "In" => is_among(),
        "NotIn" => !is_among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(operator: &str, values: &[&str]) -> LabelSelectorRequirement {
        LabelSelectorRequirement {
            key: "team".to_owned(),
            operator: operator.to_owned(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        }
    }

    #[test]
    fn selects_as_kubernetes_does() {
        let blue = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let none = BTreeMap::new();
        for (operator, values, of_blue, of_none) in [
            ("In", &["blue", "red"][..], true, false),
            ("In", &["red"], false, false),
            ("NotIn", &["blue"], false, true),
            ("Exists", &[], true, false),
            ("DoesNotExist", &[], false, true),
            ("Near", &["blue"], false, false),
        ] {
            let requirements = [requirement(operator, values)];
            assert_eq!(selects(&none, &requirements, &blue), of_blue, "{operator} {values:?}");
            assert_eq!(selects(&none, &requirements, &none), of_none, "{operator} {values:?}");
        }
        assert!(selects(&blue, &[], &blue));
        assert!(!selects(&blue, &[], &none));
    }
}
