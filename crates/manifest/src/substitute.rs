//! Variables in source texts: `${NAME}` and `${NAME:=default}`.
//!
//! It works on the text, before YAML is parsed, so a value may be any piece of YAML. What is not of this form stays
//! as it is: `$NAME` is no variable, since regular expressions end in `$`.

use std::fmt;

use crate::position::Position;

/// A variable that has neither a value nor a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// Where it stands.
    pub position: Position,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "variable {0} is not set: expected a value, or a default as in ${{{0}:=text}}", self.name)
    }
}

impl std::error::Error for Unset {}

/// Replaces variables by what `variable` says of them. A default stands in for a variable that is unset or empty;
/// `:-` is taken for `:=`. `$${NAME}` gives `${NAME}`. Comments may name variables that are not set.
///
/// Lines stay where they are unless a value has several.
///
/// # Errors
/// Every variable that has neither a value nor a default.
pub fn substitute(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<Unset>> {
    let mut output = String::with_capacity(text.len());
    let mut unset = Vec::new();
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let mut rest = content;
        while let Some((before, found)) = next_variable(rest) {
            output.push_str(before);
            let value = variable(found.name).filter(|value| !value.is_empty() || found.default.is_none());
            match (value, found.default) {
                _ if found.is_escaped => output.push_str(found.text.get(1..).unwrap_or_default()),
                (Some(value), _) => output.push_str(&value),
                (None, Some(default)) => output.push_str(default),
                (None, None) => {
                    if !content.trim_start().starts_with('#') {
                        let column = content.len() - rest.len() + before.len();
                        let column = content.get(..column).map_or(0, |before| before.chars().count());
                        unset.push(Unset { position: place(line, column), name: found.name.to_owned() });
                    }
                    output.push_str(found.text);
                }
            }
            rest = rest.get(before.len() + found.text.len()..).unwrap_or_default();
        }
        output.push_str(rest);
    }
    if unset.is_empty() { Ok(output) } else { Err(unset) }
}

fn place(line: usize, column: usize) -> Position {
    let number = |number: usize| u32::try_from(number.saturating_add(1)).unwrap_or(u32::MAX);
    Position { line: number(line), column: number(column) }
}

struct Variable<'a> {
    /// All of it, `$${` or `${` and `}` included.
    text: &'a str,
    name: &'a str,
    default: Option<&'a str>,
    is_escaped: bool,
}

/// What stands before the first variable of a line, and the variable.
fn next_variable(line: &str) -> Option<(&str, Variable<'_>)> {
    let mut from = 0;
    loop {
        let start = from + line.get(from..)?.find("${")?;
        if let Some(mut variable) = variable_at(line.get(start..)?) {
            let is_escaped = start > 0 && line.as_bytes().get(start - 1) == Some(&b'$');
            let begin = if is_escaped { start - 1 } else { start };
            variable.is_escaped = is_escaped;
            variable.text = line.get(begin..start + variable.text.len())?;
            return Some((line.get(..begin)?, variable));
        }
        from = start + 2;
    }
}

fn variable_at(text: &str) -> Option<Variable<'_>> {
    let inner = text.strip_prefix("${")?;
    let inner = inner.get(..inner.find('}')?)?;
    let name_end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at_checked(name_end)?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let default = match rest {
        "" => None,
        _ => Some(rest.strip_prefix(":=").or_else(|| rest.strip_prefix(":-"))?),
    };
    let text = text.get(..inner.len() + 3)?;
    is_name.then_some(Variable { text, name, default, is_escaped: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<String> {
        match name {
            "KEY" => Some("sk-1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn replaces_variables_and_leaves_the_rest() {
        for (text, replaced) in [
            ("a: ${KEY}", "a: sk-1"),
            ("a: ${KEY:=x}${KEY}", "a: sk-1sk-1"),
            ("a: ${NONE:=x y}!", "a: x y!"),
            ("a: ${NONE:-x}", "a: x"),
            ("a: ${EMPTY}", "a: "),
            ("a: ${EMPTY:=x}", "a: x"),
            ("a: ${NONE:=}", "a: "),
            ("a: $${KEY}", "a: ${KEY}"),
            ("a: ^gpt-.*$", "a: ^gpt-.*$"),
            ("a: $KEY ${1} ${{ x }} ${KEY", "a: $KEY ${1} ${{ x }} ${KEY"),
            ("# ${NONE}\na: 1", "# ${NONE}\na: 1"),
            ("", ""),
        ] {
            assert_eq!(substitute(text, &known).as_deref(), Ok(replaced), "{text}");
        }
    }

    #[test]
    fn names_every_unset_variable_with_its_place() {
        let unset = substitute("a: 1\nü: ${NONE} ${ALSO_NONE}\n", &known).unwrap_err();
        let places: Vec<_> = unset.iter().map(|unset| format!("{} {}", unset.position, unset.name)).collect();
        assert_eq!(places, ["2:4 NONE", "2:12 ALSO_NONE"]);
    }
}
