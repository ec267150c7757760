//! Reading answers as XML, whole or not at all.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// The deepest nesting that any answer of S3 has, and some.
const MAX_DEPTH: usize = 16;

/// Event of the XML reader. Text has its entities resolved and its pieces joined.
pub(crate) enum XmlEvent<'a> {
    /// An element begins; the names of all that are open, the outermost first, this one last.
    Begin(&'a [Vec<u8>]),
    /// End of an element, with the text directly inside it.
    End(&'a [Vec<u8>], &'a [u8]),
}

/// Reads a whole document with one of these roots.
///
/// # Errors
/// The reason why it is not a complete, well-formed document with this root.
pub(crate) fn read(
    document: &[u8],
    roots: &[&str],
    mut meet: impl FnMut(XmlEvent<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = Reader::from_reader(document);
    // Names of open elements; `depth` of them count, the others keep their memory for the next.
    let mut open: Vec<Vec<u8>> = Vec::with_capacity(MAX_DEPTH);
    let mut depth = 0;
    let mut text = Vec::new();
    let mut ended = false;
    loop {
        let event = reader
            .read_event()
            .map_err(|_text| "the document is not well-formed".to_owned())?;
        match event {
            Event::Start(start) => {
                if ended || depth >= MAX_DEPTH {
                    return Err("the document has an unexpected structure".into());
                }
                push(&mut open, depth, start.local_name().as_ref());
                check_root(&open[0], roots)?;
                depth += 1;
                text.clear();
                meet(XmlEvent::Begin(&open[..depth]))?;
            }
            Event::Empty(start) => {
                if ended || depth >= MAX_DEPTH {
                    return Err("the document has an unexpected structure".into());
                }
                push(&mut open, depth, start.local_name().as_ref());
                check_root(&open[0], roots)?;
                ended = depth == 0;
                meet(XmlEvent::Begin(&open[..=depth]))?;
                meet(XmlEvent::End(&open[..=depth], b""))?;
            }
            Event::End(_) => {
                // The reader has checked that it is the last one opened.
                meet(XmlEvent::End(&open[..depth], &text))?;
                depth -= 1;
                ended = depth == 0;
                text.clear();
            }
            Event::Text(piece) => {
                if depth > 0 {
                    text.extend_from_slice(&piece);
                } else if !piece.iter().all(u8::is_ascii_whitespace) {
                    return Err("the document has text outside its root".into());
                }
            }
            Event::CData(piece) => text.extend_from_slice(&piece),
            Event::GeneralRef(entity) => resolve(&entity, &mut text)?,
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err("the document declares a type".into()),
            Event::Eof if ended => return Ok(()),
            Event::Eof => return Err("the document is cut short".into()),
        }
    }
}

fn push(open: &mut Vec<Vec<u8>>, depth: usize, name: &[u8]) {
    match open.get_mut(depth) {
        Some(place) => {
            place.clear();
            place.extend_from_slice(name);
        }
        None => open.push(name.to_vec()),
    }
}

/// Resolves one of XML's five entities or a numeric character reference.
fn resolve(entity: &BytesRef<'_>, into: &mut Vec<u8>) -> Result<(), String> {
    let unknown = || "the document has an entity that is unknown".to_owned();
    let character = entity.resolve_char_ref().map_err(|_text| unknown())?;
    let character = match character {
        Some(character) => character,
        None => match &**entity {
            b"amp" => '&',
            b"lt" => '<',
            b"gt" => '>',
            b"quot" => '"',
            b"apos" => '\'',
            _ => return Err(unknown()),
        },
    };
    into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

/// The `Code` of an S3 error document; empty when it is none.
pub(crate) fn error_code(document: &[u8]) -> String {
    let mut code = String::new();
    let read = read(document, &["Error"], |met| {
        if let XmlEvent::End([_, name], text) = met
            && name == b"Code"
        {
            code = String::from_utf8_lossy(text).into_owned();
        }
        Ok(())
    });
    if read.is_ok() { code } else { String::new() }
}

fn check_root(root: &[u8], roots: &[&str]) -> Result<(), String> {
    if roots.iter().any(|name| root == name.as_bytes()) {
        Ok(())
    } else {
        Err(format!("the document is not a {}", roots.join(" or a ")))
    }
}

/// Checks that this is a complete document with one of these roots, whatever its content.
pub(crate) fn check(document: &[u8], roots: &[&str]) -> Result<(), String> {
    read(document, roots, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_document_with_the_right_root_passes() {
        let good = "<?xml version=\"1.0\"?><A xmlns=\"x\"><B>1</B><C/></A>\n";
        check(good.as_bytes(), &["A"]).unwrap();
        // S3's own answer for a bucket that has never had versions.
        let nothing =
            b"<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>";
        check(nothing, &["VersioningConfiguration"]).unwrap();
        for end in 0..good.len() - 1 {
            assert!(
                check(&good.as_bytes()[..end], &["A"]).is_err(),
                "{end} bytes of it"
            );
        }
        for bad in [
            "",
            "<html><body>502</body></html>",
            "<!DOCTYPE html><A></A>",
            "<A></A><A></A>",
            "<A></B>",
            "{\"a\": 1}",
            "<A>&nonsense;</A>",
            "<A></A>trailing",
            "<A/>trailing",
            "<A/><A/>",
            "<B/>",
        ] {
            assert!(check(bad.as_bytes(), &["A"]).is_err(), "{bad}");
        }
        let deep = "<A>".repeat(100_000);
        assert!(check(deep.as_bytes(), &["A"]).is_err());
    }

    #[test]
    fn the_code_of_an_error_is_found_and_nothing_else() {
        let error = b"<Error><Code>SlowDown</Code><Message>x</Message></Error>";
        assert_eq!(error_code(error), "SlowDown");
        assert_eq!(error_code(b"<html><Code>x</Code></html>"), "");
        assert_eq!(error_code(b"<Error><Code>SlowDown</Code>"), "");
    }
}
