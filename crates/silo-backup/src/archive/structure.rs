//! Structure of documents as in <https://bsonspec.org/spec.html>: validation of types, lengths and terminators at every level; and elements, which are
//! taken out and put together without decoding their values.
//!
//! Strings need not be UTF-8: mongod does not validate them and old drivers wrote Latin-1, so such strings are counted and not rejected.

/// Most nesting levels of a document. mongod accepts 180.
const MAX_DEPTH: usize = 200;

/// Validates a document. Returns the number of strings and field names that are not valid UTF-8; `None` if the document is malformed.
#[must_use]
pub fn invalid_strings(document: &[u8]) -> Option<u64> {
    let mut input = Input(document);
    let mut invalid = 0;
    input.document(&mut invalid, 0)?;
    input.0.is_empty().then_some(invalid)
}

/// An element of a document: type, name and value, as they are in BSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Type, such as `0x03` for a document.
    pub kind: u8,
    /// Name, without the zero byte.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
}

/// Elements of a document, without those of its inner documents; `None` if it is malformed.
#[must_use]
pub fn elements(document: &[u8]) -> Option<Vec<Element<'_>>> {
    Elements::of(document).collect()
}

/// Iterator over the elements of a document. Its last item is `None` if the document is malformed.
pub struct Elements<'a> {
    /// The rest; `None` after the end.
    rest: Option<Input<'a>>,
}

impl<'a> Elements<'a> {
    /// The elements of a document.
    #[must_use]
    pub fn of(document: &'a [u8]) -> Self {
        let mut input = Input(document);
        let whole = input.length() == Some(document.len());
        // Without a valid length, the first item is `None`.
        let rest = if whole { input } else { Input(&[]) };
        Self { rest: Some(rest) }
    }

    fn element(input: &mut Input<'a>) -> Option<Option<Element<'a>>> {
        let kind = input.take(1)?[0];
        if kind == 0 {
            return input.0.is_empty().then_some(None);
        }
        let name = input.name()?;
        let before = input.0;
        input.value(kind, &mut 0, 0)?;
        let value = &before[..before.len() - input.0.len()];
        Some(Some(Element { kind, name, value }))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<Element<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut input = self.rest.take()?;
        match Self::element(&mut input) {
            Some(Some(element)) => {
                self.rest = Some(input);
                Some(Some(element))
            }
            Some(None) => None,
            None => Some(None),
        }
    }
}

/// A document that is put together from elements.
pub struct Builder(Vec<u8>);

impl Default for Builder {
    fn default() -> Self {
        Self(vec![0; 4])
    }
}

impl Builder {
    /// Adds an element at the end.
    pub fn push(&mut self, kind: u8, name: &[u8], value: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(name);
        self.0.push(0);
        self.0.extend_from_slice(value);
    }

    /// The document.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(0);
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0
    }
}

/// The bytes that are not read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A length, which is a signed 32-bit number.
    fn length(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().ok()?;
        usize::try_from(i32::from_le_bytes(bytes)).ok()
    }

    fn document(&mut self, invalid: &mut u64, depth: usize) -> Option<()> {
        let length = self.length()?.checked_sub(4)?;
        let mut inner = Input(self.take(length)?);
        if depth > MAX_DEPTH {
            return None;
        }
        loop {
            match inner.take(1)?[0] {
                0 => return inner.0.is_empty().then_some(()),
                kind => {
                    inner.text(invalid)?;
                    inner.value(kind, invalid, depth)?;
                }
            }
        }
    }

    fn value(&mut self, kind: u8, invalid: &mut u64, depth: usize) -> Option<()> {
        let fixed = match kind {
            0x02 | 0x0d | 0x0e => return self.string(invalid),
            0x03 | 0x04 => return self.document(invalid, depth + 1),
            0x05 => {
                let length = self.length()?;
                let subtype = self.take(1)?[0];
                let mut inner = Input(self.take(length)?);
                // The old binary subtype has a second length.
                return match subtype {
                    2 => (inner.length()? == inner.0.len()).then_some(()),
                    _ => Some(()),
                };
            }
            0x08 => return (self.take(1)?[0] <= 1).then_some(()),
            0x0b => {
                self.text(invalid)?;
                return self.text(invalid);
            }
            0x0c => {
                self.string(invalid)?;
                12
            }
            0x0f => {
                let length = self.length()?.checked_sub(4)?;
                let mut inner = Input(self.take(length)?);
                inner.string(invalid)?;
                inner.document(invalid, depth + 1)?;
                return inner.0.is_empty().then_some(());
            }
            0x06 | 0x0a | 0x7f | 0xff => 0,
            0x10 => 4,
            0x01 | 0x09 | 0x11 | 0x12 => 8,
            0x07 => 12,
            0x13 => 16,
            _ => return None,
        };
        self.take(fixed).map(drop)
    }

    /// A string with its length, ending with a zero byte.
    fn string(&mut self, invalid: &mut u64) -> Option<()> {
        let length = self.length()?.checked_sub(1)?;
        let text = self.take(length)?;
        *invalid += u64::from(std::str::from_utf8(text).is_err());
        (self.take(1)?[0] == 0).then_some(())
    }

    /// A text up to a zero byte.
    fn text(&mut self, invalid: &mut u64) -> Option<()> {
        let text = self.name()?;
        *invalid += u64::from(std::str::from_utf8(text).is_err());
        Some(())
    }

    /// Bytes up to a zero byte, which is taken too.
    fn name(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let name = self.take(length)?;
        self.take(1)?;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    fn example() -> RawDocumentBuf {
        rawdoc! {
            "text": "ü", "number": 1.5, "inner": { "list": [1, 2_i64, { "deep": null }] },
            "binary": bson::Binary { subtype: bson::spec::BinarySubtype::BinaryOld, bytes: vec![1, 2, 3] },
            "regex": bson::Regex { pattern: bson::cstr!("^a").into(), options: bson::cstr!("i").into() }, "flag": true,
            "code": bson::RawJavaScriptCodeWithScope { code: "f()".into(), scope: rawdoc! { "x": 1 } },
            "time": bson::Timestamp { time: 1, increment: 2 }, "least": bson::RawBson::MinKey, "id": bson::oid::ObjectId::new(),
        }
    }

    #[test]
    fn every_type_is_valid_and_every_shorter_document_is_not() {
        let document = example();
        assert_eq!(invalid_strings(document.as_bytes()), Some(0));
        for length in 0..document.as_bytes().len() {
            assert_eq!(invalid_strings(&document.as_bytes()[..length]), None);
        }
    }

    #[test]
    fn elements_put_together_again_are_the_document() {
        let document = example();
        let mut builder = Builder::default();
        for element in elements(document.as_bytes()).unwrap() {
            builder.push(element.kind, element.name, element.value);
        }
        assert_eq!(builder.finish(), document.as_bytes());
        for length in 0..document.as_bytes().len() {
            assert_eq!(elements(&document.as_bytes()[..length]), None);
        }
    }

    #[test]
    fn strings_that_are_not_utf_8_are_counted() {
        let bytes = b"\x17\0\0\0\x10_id\0\x01\0\0\0\x02s\0\x02\0\0\0\xe9\0\0";
        assert_eq!(invalid_strings(bytes), Some(1));
    }

    #[test]
    fn a_wrong_length_type_or_terminator_is_malformed() {
        let good = b"\x17\0\0\0\x10_id\0\x01\0\0\0\x02s\0\x02\0\0\0\xe9\0\0";
        for (at, byte) in [(0, 0x16), (4, 0x20), (17, 3), (21, 1), (22, 1)] {
            let mut bad = good.to_vec();
            bad[at] = byte;
            assert_eq!(invalid_strings(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |levels: usize| {
            let mut document = rawdoc! {};
            for _ in 0..levels {
                document = rawdoc! { "a": document };
            }
            document
        };
        assert_eq!(invalid_strings(nested(180).as_bytes()), Some(0));
        assert_eq!(invalid_strings(nested(250).as_bytes()), None);
    }
}
