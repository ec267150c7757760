//! Dialects of JSON, and how a file's dialect is detected.

use serde::{Deserialize, Serialize};

/// Dialect of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Extended JSON v2, canonical: every type is kept.
    Canonical,
    /// Extended JSON v2, relaxed: numbers lose their type.
    Relaxed,
    /// Extended JSON v1, as tools before MongoDB 4.2 wrote it.
    Legacy,
    /// `JSON.stringify`: `ObjectId`s and dates are text.
    Plain,
}

impl Dialect {
    /// Name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Canonical => "canonical Extended JSON",
            Self::Relaxed => "relaxed Extended JSON",
            Self::Legacy => "legacy Extended JSON (v1)",
            Self::Plain => "plain JSON",
        }
    }
}

/// Something by which a dialect is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A type wrapper of both versions, such as `$oid`.
    Wrapper,
    /// A wrapper of a number that only version 2 has: `$numberInt`, `$numberDouble`.
    Number,
    /// A wrapper that only version 2 has, such as `$regularExpression`.
    Version2,
    /// A wrapper that only version 1 has, such as a `$date` with a bare number.
    Version1,
    /// `$regex` with `$options`: a regular expression in version 1, a stored query in version 2.
    Regex,
    /// A number without a wrapper.
    PlainNumber,
}

/// Lines of the first marker of each kind.
#[derive(Clone, Debug, Default)]
pub struct Markers([Option<u64>; 6]);

impl Markers {
    /// Notes a marker.
    pub fn note(&mut self, marker: Marker, line: u64) {
        self.0[marker as usize].get_or_insert(line);
    }

    fn line(&self, marker: Marker) -> Option<u64> {
        self.0[marker as usize]
    }

    /// The dialect.
    ///
    /// # Errors
    /// When the file has markers of both versions.
    pub fn dialect(&self) -> Result<Dialect, String> {
        let numbers = self.line(Marker::Number);
        let second = self.line(Marker::Version2).or(numbers);
        Ok(match (self.line(Marker::Version1), second) {
            (Some(one), Some(two)) => {
                return Err(format!(
                    "line {one} has a type of legacy Extended JSON, and line {two} one of version 2: which is it? (--dialect)"
                ));
            }
            (Some(_), None) => Dialect::Legacy,
            (None, None) if self.line(Marker::Regex).is_some() => Dialect::Legacy,
            _ if numbers.is_some() && self.line(Marker::PlainNumber).is_none() => {
                Dialect::Canonical
            }
            (None, None) if self.line(Marker::Wrapper).is_none() => Dialect::Plain,
            _ => Dialect::Relaxed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(markers: &[Marker]) -> Result<Dialect, String> {
        let mut noted = Markers::default();
        for (line, marker) in (1..).zip(markers) {
            noted.note(*marker, line);
        }
        noted.dialect()
    }

    #[test]
    fn the_markers_tell_the_dialect() {
        use Marker::{Number, PlainNumber, Regex, Version1, Version2, Wrapper};
        assert_eq!(dialect(&[]), Ok(Dialect::Plain));
        assert_eq!(dialect(&[PlainNumber]), Ok(Dialect::Plain));
        assert_eq!(dialect(&[Wrapper]), Ok(Dialect::Relaxed));
        assert_eq!(dialect(&[Wrapper, PlainNumber]), Ok(Dialect::Relaxed));
        assert_eq!(dialect(&[Version2, PlainNumber]), Ok(Dialect::Relaxed));
        assert_eq!(dialect(&[Number, Wrapper]), Ok(Dialect::Canonical));
        assert_eq!(dialect(&[Number, PlainNumber]), Ok(Dialect::Relaxed));
        assert_eq!(dialect(&[Regex, Wrapper]), Ok(Dialect::Legacy));
        assert_eq!(dialect(&[Regex, Number]), Ok(Dialect::Canonical));
        assert_eq!(dialect(&[Regex, Version2]), Ok(Dialect::Relaxed));
        assert!(dialect(&[Number, Version1]).is_err());
        let both = dialect(&[Version1, Version2]).unwrap_err();
        assert!(both.starts_with("line 1 has a type of legacy"), "{both}");
    }
}
