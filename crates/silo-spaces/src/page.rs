//! One page of a bucket's listing: up to a thousand objects, in the order of their keys' bytes.

use std::ops::Range;

use jiff::Timestamp;
use percent_encoding::percent_decode;

use crate::xml::{XmlEvent, read};

/// The most objects that a page has.
pub const MOST: u32 = 1000;
/// A page of a thousand keys of 1,024 bytes, each byte percent-encoded, with room for the rest.
pub(crate) const LARGEST: usize = 8 * 1024 * 1024;

/// Object in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    /// The key.
    pub key: &'a str,
    /// The size in bytes.
    pub bytes: u64,
    /// Time of the last write; `None` if the storage reports none, or an invalid one.
    pub modified: Option<Timestamp>,
    /// Storage class; empty if the storage reports none.
    pub class: &'a str,
}

/// A page. All keys lie one after the other in one string, so that a page needs no allocation per key.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    rows: Vec<Row>,
    /// `true` if there are keys after the last one of the page.
    pub truncated: bool,
    /// Common prefixes up to the delimiter, if the page was requested with one.
    pub prefixes: Vec<String>,
    /// `true` if all keys were percent-encoded.
    pub(crate) was_encoded: bool,
}

#[derive(Debug)]
struct Row {
    key: Range<usize>,
    class: Range<usize>,
    bytes: u64,
    modified: Option<Timestamp>,
}

impl Page {
    /// A page with these objects, for simulated storage.
    pub fn of(objects: impl IntoIterator<Item = (String, u64)>, truncated: bool) -> Self {
        let mut page = Self {
            truncated,
            ..Self::default()
        };
        for (key, bytes) in objects {
            let from = page.text.len();
            page.text.push_str(&key);
            page.rows.push(Row {
                key: from..page.text.len(),
                class: 0..0,
                bytes,
                modified: None,
            });
        }
        page
    }

    /// The objects, in the order of their keys.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = Object<'_>> {
        self.rows.iter().map(|row| Object {
            key: &self.text[row.key.clone()],
            bytes: row.bytes,
            modified: row.modified,
            class: &self.text[row.class.clone()],
        })
    }

    /// The first key.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.rows.first().map(|row| &self.text[row.key.clone()])
    }

    /// The last key.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.rows.last().map(|row| &self.text[row.key.clone()])
    }

    /// Parses an answer to `list-type=2`.
    ///
    /// # Errors
    /// The reason for rejecting the page, among them: it does not say whether it is truncated; keys are out of order or not after `after`.
    pub fn parse(document: &[u8], after: Option<&str>) -> Result<Self, String> {
        let encoded = is_url_encoded(document);
        let mut page = Self::default();
        let mut truncated = None;
        let mut row = Partial::default();
        // `true` if a key contains a byte that encoding would have replaced.
        let mut raw = false;
        read(document, &["ListBucketResult"], |met| match met {
            XmlEvent::Begin([_, item]) if item == b"Contents" => {
                row = Partial::default();
                Ok(())
            }
            XmlEvent::End([_, item, field], text) if item == b"Contents" => {
                match field.as_slice() {
                    b"Key" => {
                        raw |= encoded && text.iter().any(|byte| !(b'!'..=b'~').contains(byte));
                        row.key(text, encoded, &mut page.text)
                    }
                    b"Size" => row.size(text),
                    b"LastModified" => {
                        row.modified = std::str::from_utf8(text)
                            .ok()
                            .and_then(|text| text.parse().ok());
                        Ok(())
                    }
                    b"StorageClass" => {
                        row.class = append(&mut page.text, text)?;
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
            XmlEvent::End([_, item], _) if item == b"Contents" => {
                page.rows.push(std::mem::take(&mut row).whole()?);
                Ok(())
            }
            XmlEvent::End([_, item, field], text)
                if item == b"CommonPrefixes" && field == b"Prefix" =>
            {
                page.prefixes.push(decode(text, encoded)?);
                Ok(())
            }
            XmlEvent::End([_, field], text) if field == b"IsTruncated" => {
                truncated = match text {
                    b"true" => Some(true),
                    b"false" => Some(false),
                    _ => return Err("the listing does not say whether it is truncated".into()),
                };
                Ok(())
            }
            _ => Ok(()),
        })?;
        page.was_encoded = encoded && !raw;
        page.truncated = truncated.ok_or("the listing does not say whether it is truncated")?;
        page.check_order(after)?;
        Ok(page)
    }

    /// `true` if a key contains a control character, or one that may have replaced it.
    pub(crate) fn has_controls(&self) -> bool {
        self.objects().any(|object| {
            object
                .key
                .contains(|c: char| c.is_control() || c == '\u{fffd}')
        })
    }

    /// Keys grow and lie after where the page was asked from; otherwise going on from the last one would count twice or never end.
    fn check_order(&self, after: Option<&str>) -> Result<(), String> {
        let mut before = after.unwrap_or_default();
        for object in self.objects() {
            if object.key <= before && !(before.is_empty() && object.key.is_empty()) {
                return Err("the listing is not in the order of its keys".into());
            }
            before = object.key;
        }
        if self.truncated && self.rows.is_empty() && self.prefixes.is_empty() {
            return Err("the listing is truncated but empty".into());
        }
        Ok(())
    }
}

/// Object whose fields are not complete yet.
#[derive(Default)]
struct Partial {
    key: Option<Range<usize>>,
    class: Range<usize>,
    bytes: Option<u64>,
    modified: Option<Timestamp>,
}

impl Partial {
    fn key(&mut self, text: &[u8], encoded: bool, into: &mut String) -> Result<(), String> {
        let from = into.len();
        if encoded && text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
            into.push_str(&decode(text, true)?);
            self.key = Some(from..into.len());
        } else {
            self.key = Some(append(into, text)?);
        }
        Ok(())
    }

    fn size(&mut self, text: &[u8]) -> Result<(), String> {
        let size = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok());
        self.bytes = Some(size.ok_or("the listing has a size that is no number")?);
        Ok(())
    }

    fn whole(self) -> Result<Row, String> {
        match (self.key, self.bytes) {
            (Some(key), Some(bytes)) => Ok(Row {
                key,
                class: self.class,
                bytes,
                modified: self.modified,
            }),
            _ => Err("the listing has an object without key or size".into()),
        }
    }
}

fn append(into: &mut String, text: &[u8]) -> Result<Range<usize>, String> {
    let from = into.len();
    let text = std::str::from_utf8(text).map_err(|_text| "the listing is not UTF-8")?;
    into.push_str(text);
    Ok(from..into.len())
}

/// A key as it is. Where the storage encodes keys for URLs it writes a blank as `+`, as forms do, and a plus as `%2B`.
fn decode(text: &[u8], encoded: bool) -> Result<String, String> {
    let bytes = if encoded {
        let spaced: Vec<u8> = text
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        percent_decode(&spaced).collect()
    } else {
        text.to_vec()
    };
    String::from_utf8(bytes).map_err(|_text| "the listing has a key that is not UTF-8".to_owned())
}

/// `true` if the storage honoured `encoding-type=url`. A key cannot contain a `<` in XML, so the tag cannot occur elsewhere. It may come before or
/// after all objects, and echoes of long parameters beside it.
fn is_url_encoded(document: &[u8]) -> bool {
    memchr::memmem::find(document, b"<EncodingType>url</EncodingType>").is_some()
}

#[cfg(test)]
mod tests;
