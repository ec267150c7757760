//! Splitting a JSON file into its documents: an array of documents, or one after the other (usually one per line). Memory for one document at a time.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;
use serde::Serialize;

use super::JsonError;

/// Largest document as JSON text, in bytes: 16 MiB of BSON, which canonical Extended JSON makes up to three times as long.
const LARGEST: usize = 48 * 1024 * 1024;
/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;
/// First bytes of a gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Layout of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[ {...}, {...} ]`.
    Array,
    /// Documents one after the other.
    Lines,
}

/// Text of a document, and its place in the file.
#[derive(Debug)]
pub struct DocumentText<'a> {
    /// The text, from `{` to `}`.
    pub bytes: &'a [u8],
    /// Line of its first byte, from 1.
    pub line: u64,
    /// Column of its first byte, from 1.
    pub column: u64,
}

/// Error of reading a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The file cannot be read or decompressed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Decompresses a gzip file; any other is returned as it is.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn decompressed<'a>(file: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut file = BufReader::with_capacity(PIECE, file);
    let gzip = io::BufRead::fill_buf(&mut file)?.starts_with(&GZIP);
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

/// The documents of a file.
pub struct Documents<R> {
    input: R,
    buffer: Vec<u8>,
    /// Next byte of the buffer.
    at: usize,
    line: u64,
    column: u64,
    layout: Option<Layout>,
    /// `true` before the first document.
    first: bool,
    ended: bool,
}

impl<R: Read> Documents<R> {
    /// Documents of `input`, which is not compressed.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            at: 0,
            line: 1,
            column: 1,
            layout: None,
            first: true,
            ended: false,
        }
    }

    /// Layout of the file; `None` before the first document was read, and of an empty file.
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// The next document; `None` at the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read, is not UTF-8 text without a byte-order mark, or has something else than documents.
    pub fn next_document(&mut self) -> Result<Option<DocumentText<'_>>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        if self.layout.is_none() {
            self.begin()?;
        }
        if !self.find_document()? {
            self.ended = true;
            return Ok(None);
        }
        let (line, column) = (self.line, self.column);
        let length = self.scan(line, column)?;
        let from = self.at;
        self.advance(length);
        Ok(Some(DocumentText {
            bytes: &self.buffer[from..from + length],
            line,
            column,
        }))
    }

    /// Checks the encoding, and finds out the layout.
    fn begin(&mut self) -> Result<(), ReadError> {
        while self.buffer.len() < 4 && self.read_more()? {}
        let encoding = match self.buffer.as_slice() {
            [0xef, 0xbb, 0xbf, ..] => Some("begins with a UTF-8 byte-order mark; remove it"),
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, _, ..] => {
                Some("is UTF-32; convert it to UTF-8")
            }
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
                Some("is UTF-16; convert it to UTF-8")
            }
            _ => None,
        };
        if let Some(problem) = encoding {
            return Err(self.error(format!("the file {problem}")));
        }
        match self.peek()? {
            Some(b'[') => {
                self.advance(1);
                self.layout = Some(Layout::Array);
            }
            Some(_) => self.layout = Some(Layout::Lines),
            None => {}
        }
        Ok(())
    }

    /// Moves to the next document; `false` when there is none.
    fn find_document(&mut self) -> Result<bool, ReadError> {
        let first = std::mem::replace(&mut self.first, false);
        let array = self.layout == Some(Layout::Array);
        let next = self.peek()?;
        match (array, next) {
            (false, None) => return Ok(false),
            (true, Some(b']')) => {
                self.advance(1);
                return match self.peek()? {
                    None => Ok(false),
                    Some(_) => Err(self.error("the file goes on after the end of the array")),
                };
            }
            (true, None) => return Err(self.error("the file ends before the end of the array")),
            (true, Some(b',')) if !first => self.advance(1),
            (true, Some(_)) if !first => {
                return Err(self.error("a comma or the end of the array is expected"));
            }
            _ => {}
        }
        match self.peek()? {
            Some(b'{') => Ok(true),
            Some(_) => Err(self.error("a document, which begins with {, is expected")),
            None => Err(self.error("the file ends before the end of the array")),
        }
    }

    /// Length of the document that begins here.
    fn scan(&mut self, line: u64, column: u64) -> Result<usize, ReadError> {
        let (mut length, mut depth, mut text, mut escaped) = (0, 0_u32, false, false);
        loop {
            while self.at + length == self.buffer.len() {
                if length > LARGEST {
                    return Err(self.error("the document is longer than 48 MiB"));
                }
                if !self.read_more()? {
                    return Err(JsonError {
                        line,
                        column,
                        problem: "the file ends in the middle of the document that begins here"
                            .into(),
                    }
                    .into());
                }
            }
            for byte in &self.buffer[self.at + length..] {
                length += 1;
                if text {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => text = false,
                        _ => {}
                    }
                    continue;
                }
                match byte {
                    b'"' => text = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Ok(length);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The next byte that is not white space; `None` at the end.
    fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        loop {
            let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            let spaces = self.buffer[self.at..].iter().take_while(space).count();
            self.advance(spaces);
            if let Some(byte) = self.buffer.get(self.at) {
                return Ok(Some(*byte));
            }
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    /// Moves on by so many bytes of the buffer.
    fn advance(&mut self, bytes: usize) {
        let passed = &self.buffer[self.at..self.at + bytes];
        let lines = passed.iter().filter(|byte| **byte == b'\n').count();
        let rest = passed
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count();
        self.line += as_u64(lines);
        self.column = as_u64(rest) + if lines > 0 { 1 } else { self.column };
        self.at += bytes;
    }

    /// Reads more bytes; `false` at the end of the file. What was passed is forgotten.
    fn read_more(&mut self) -> Result<bool, ReadError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        // Memory of a large document that was passed.
        if self.buffer.len() < PIECE && self.buffer.capacity() > 8 * PIECE {
            self.buffer.shrink_to(2 * PIECE);
        }
        let before = self.buffer.len();
        self.buffer.resize(before + PIECE, 0);
        loop {
            match self.input.read(&mut self.buffer[before..]) {
                Ok(read) => {
                    self.buffer.truncate(before + read);
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.truncate(before);
                    return Err(error.into());
                }
            }
        }
    }

    fn error(&self, problem: impl Into<String>) -> ReadError {
        ReadError::Json(JsonError {
            line: self.line,
            column: self.column,
            problem: problem.into(),
        })
    }
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documents of a text as `line:column text`, and the error if there is one; read in pieces of one byte, so that every boundary is met.
    fn split(text: &[u8]) -> (Vec<String>, Option<String>) {
        struct Bytewise<'a>(&'a [u8]);
        impl Read for Bytewise<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let size = into.len().min(self.0.len()).min(1);
                into[..size].copy_from_slice(&self.0[..size]);
                self.0 = &self.0[size..];
                Ok(size)
            }
        }
        let mut documents = Documents::new(Bytewise(text));
        let mut found = Vec::new();
        loop {
            match documents.next_document() {
                Ok(Some(document)) => found.push(format!(
                    "{}:{} {}",
                    document.line,
                    document.column,
                    String::from_utf8_lossy(document.bytes)
                )),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn documents_are_found_with_their_places() {
        let lines = b"{\"a\":1}\r\n\n  {\"b\":{\"c\":[\"}{\\\"\"]}} {}\n";
        let expected = [
            "1:1 {\"a\":1}",
            "3:3 {\"b\":{\"c\":[\"}{\\\"\"]}}",
            "3:24 {}",
        ];
        assert_eq!(split(lines), (expected.map(str::to_owned).to_vec(), None));
        let array = b"[\n{\"a\":\n1},\n {}\n]\n";
        let expected = ["2:1 {\"a\":\n1}", "4:2 {}"];
        assert_eq!(split(array), (expected.map(str::to_owned).to_vec(), None));
        for empty in [&b""[..], b" \n", b"[]", b"[\n]\n"] {
            assert_eq!(split(empty), (vec![], None));
        }
    }

    #[test]
    fn a_file_that_is_cut_or_goes_on_is_refused_with_its_place() {
        for (text, error) in [
            (
                &b"{\"a\":1}\n{\"a\":"[..],
                "line 2, column 1: the file ends in the middle of the document that begins here",
            ),
            (
                b"[{}",
                "line 1, column 4: the file ends before the end of the array",
            ),
            (
                b"[{},",
                "line 1, column 5: the file ends before the end of the array",
            ),
            (
                b"[{}]\n{}",
                "line 2, column 1: the file goes on after the end of the array",
            ),
            (
                b"[{} {}]",
                "line 1, column 5: a comma or the end of the array is expected",
            ),
            (
                b"[,{}]",
                "line 1, column 2: a document, which begins with {, is expected",
            ),
            (
                b"{}\n7",
                "line 2, column 1: a document, which begins with {, is expected",
            ),
            (
                b"{}\nNaN",
                "line 2, column 1: a document, which begins with {, is expected",
            ),
        ] {
            assert_eq!(split(text).1.as_deref(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn other_encodings_are_refused_by_name() {
        for (text, encoding) in [
            (
                &b"\xef\xbb\xbf{}"[..],
                "begins with a UTF-8 byte-order mark",
            ),
            (b"\xff\xfe{\0}\0", "is UTF-16"),
            (b"\xfe\xff\0{\0}", "is UTF-16"),
            (b"{\0}\0", "is UTF-16"),
            (b"\0{\0}", "is UTF-16"),
            (b"\xff\xfe\0\0{\0\0\0", "is UTF-32"),
            (b"\0\0\0{", "is UTF-32"),
        ] {
            let error = split(text).1.unwrap();
            assert!(error.contains(encoding), "{error}");
        }
    }
}
