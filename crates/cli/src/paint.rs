//! Colour on a terminal, and nowhere else.

use std::fmt;
use std::io::IsTerminal;

use clap::ValueEnum;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Writes texts in colour, or as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// With ANSI escapes.
    Colour,
    /// As they are.
    Plain,
}

/// What a colour stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tint {
    /// Something failed.
    Bad,
    /// Something may be a mistake.
    Doubtful,
    /// Something went well.
    Good,
    /// Beside the matter.
    Faint,
    /// The matter.
    Strong,
}

impl Paint {
    /// Decides for texts that go to `stream`.
    pub(crate) fn decide(when: When, stream: &impl IsTerminal) -> Self {
        let wanted = match when {
            When::Always => true,
            When::Never => false,
            // https://no-color.org: set and not empty.
            When::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
                stream.is_terminal() && !refused && !dumb
            }
        };
        if wanted { Self::Colour } else { Self::Plain }
    }

    /// `text` in the colour of `tint`.
    pub(crate) fn tint<T: fmt::Display>(self, tint: Tint, text: T) -> Painted<T> {
        Painted { paint: self, tint, text }
    }
}

/// A text with its colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Painted<T> {
    paint: Paint,
    tint: Tint,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.paint == Paint::Plain {
            return self.text.fmt(f);
        }
        let code = match self.tint {
            Tint::Bad => "1;31",
            Tint::Doubtful => "1;33",
            Tint::Good => "1;32",
            Tint::Faint => "2",
            Tint::Strong => "1",
        };
        write!(f, "\u{1b}[{code}m")?;
        self.text.fmt(f)?;
        f.write_str("\u{1b}[0m")
    }
}

/// `text` without what could steer a terminal: control characters become U+FFFD, tabs a space.
pub(crate) fn harmless(text: &str) -> String {
    let swap = |letter| match letter {
        '\t' => ' ',
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    };
    text.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_where_wanted() {
        assert_eq!(Paint::Plain.tint(Tint::Bad, "error").to_string(), "error");
        assert_eq!(Paint::Colour.tint(Tint::Bad, "error").to_string(), "\u{1b}[1;31merror\u{1b}[0m");
        assert_eq!(Paint::decide(When::Always, &std::io::stdout()), Paint::Colour);
        assert_eq!(Paint::decide(When::Never, &std::io::stdout()), Paint::Plain);
    }

    #[test]
    fn a_file_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31m\tb\r"), "a\u{fffd}[31m b\u{fffd}");
    }
}
