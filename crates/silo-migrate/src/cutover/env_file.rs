//! Reading `.env` files as bytes, so that everything but one value stays as it is.
//!
//! A line is `[export ]NAME=VALUE`, and the value is in single quotes, in double quotes, or without quotes up to ` #` or the end of the line: what dotenv,
//! systemd, Docker and a shell agree on.

/// Quotes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    /// None.
    None,
    /// `'...'`, in which nothing is special.
    Single,
    /// `"..."`, in which `\`, `"` and, in a shell, `$` and backticks are special.
    Double,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Line, from 1.
    pub line: usize,
    /// Name of the variable.
    pub name: String,
    /// Value, without quotes and escapes.
    pub value: String,
    /// Quotes of the value.
    pub quotes: Quotes,
    /// `true` for a line that is commented out.
    pub commented: bool,
    /// Bytes of the value in the file, with its quotes.
    pub range: std::ops::Range<usize>,
}

/// All assignments of a file, also those that are commented out.
///
/// # Errors
/// The line that cannot be read, and why.
pub fn assignments(file: &[u8]) -> Result<Vec<Assignment>, String> {
    let mut found = Vec::new();
    // A byte-order mark, as editors of Windows write it.
    let begin = if file.starts_with(b"\xef\xbb\xbf") {
        3
    } else {
        0
    };
    let (mut at, mut line) = (begin, 1);
    while at < file.len() {
        let end = file[at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(file.len(), |length| at + length);
        let next = assignment(file, at, end, line)?;
        // A quoted value may go over several lines.
        let end = match &next {
            Some(assignment) if assignment.range.end > end => {
                let rest = &file[assignment.range.end..];
                rest.iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(file.len(), |length| assignment.range.end + length)
            }
            _ => end,
        };
        line += file[at..end.min(file.len())]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        at = end + 1;
        found.extend(next);
    }
    Ok(found)
}

fn assignment(
    file: &[u8],
    begin: usize,
    end: usize,
    line: usize,
) -> Result<Option<Assignment>, String> {
    let mut at = begin;
    let space = |byte: u8| byte == b' ' || byte == b'\t';
    let skip_spaces = |mut at: usize| {
        while at < end && space(file[at]) {
            at += 1;
        }
        at
    };
    at = skip_spaces(at);
    let commented = at < end && file[at] == b'#';
    while at < end && (file[at] == b'#' || space(file[at])) {
        at += 1;
    }
    if file[at..end].starts_with(b"export") && at + 6 < end && space(file[at + 6]) {
        at = skip_spaces(at + 6);
    }
    let name_at = at;
    while at < end && (file[at].is_ascii_alphanumeric() || file[at] == b'_' || file[at] == b'.') {
        at += 1;
    }
    let name = String::from_utf8_lossy(&file[name_at..at]).into_owned();
    at = skip_spaces(at);
    if name.is_empty() || at >= end || file[at] != b'=' {
        return Ok(None);
    }
    at = skip_spaces(at + 1);
    let quotes = match file.get(at).filter(|_| at < end) {
        Some(b'\'') => Quotes::Single,
        Some(b'"') => Quotes::Double,
        Some(b'`') if !commented => {
            return Err(format!(
                "line {line}: {name} is in backticks, which not every reader of .env files knows"
            ));
        }
        _ => Quotes::None,
    };
    let limit = if commented { end } else { file.len() };
    let (value, to) = match quotes {
        Quotes::None => {
            let mut to = at;
            while to < end && !(file[to] == b'#' && to > at && space(file[to - 1])) {
                to += 1;
            }
            while to > at && (space(file[to - 1]) || file[to - 1] == b'\r') {
                to -= 1;
            }
            (file[at..to].to_vec(), to)
        }
        Quotes::Single | Quotes::Double => match quoted(&file[..limit], at) {
            Some((value, to)) => {
                let rest = &file[to..];
                let rest = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let rest = rest.trim_ascii();
                if !rest.is_empty() && !rest.starts_with(b"#") && !commented {
                    return Err(format!("line {line}: {name} goes on after its quotes"));
                }
                (value, to)
            }
            None if commented => return Ok(None),
            None => return Err(format!("line {line}: the quotes of {name} are not closed")),
        },
    };
    Ok(Some(Assignment {
        line,
        name,
        value: String::from_utf8_lossy(&value).into_owned(),
        quotes,
        commented,
        range: at..to,
    }))
}

/// A quoted value that begins here, and where it ends.
fn quoted(file: &[u8], begin: usize) -> Option<(Vec<u8>, usize)> {
    let quote = *file.get(begin)?;
    let (mut value, mut at) = (Vec::new(), begin + 1);
    loop {
        match *file.get(at)? {
            byte if byte == quote => return Some((value, at + 1)),
            b'\\'
                if quote == b'"'
                    && matches!(file.get(at + 1), Some(b'"' | b'\\' | b'$' | b'`')) =>
            {
                value.push(*file.get(at + 1)?);
                at += 2;
            }
            byte => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

/// Text of a value in the quotes of the old one, or in single quotes if those would change it.
///
/// # Errors
/// When no quotes can hold it.
pub fn write(value: &str, old: &Assignment) -> Result<String, String> {
    let safe = |letter: char| {
        letter.is_ascii_alphanumeric()
            || "_./:@%?=+,~-".contains(letter)
            || (letter != '#'
                && letter != '$'
                && !letter.is_whitespace()
                && !"'\"\\`".contains(letter)
                && old.value.contains(letter))
    };
    match old.quotes {
        Quotes::None if value.chars().all(safe) => Ok(value.to_owned()),
        Quotes::Double if !value.contains(['"', '\\', '$', '`', '\n']) => {
            Ok(format!("\"{value}\""))
        }
        _ if !value.contains(['\'', '\n']) => Ok(format!("'{value}'")),
        _ => Err(format!(
            "line {}: no quotes can hold the new value of {}",
            old.line, old.name
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, String, bool)> {
        let found = assignments(text.as_bytes()).unwrap();
        found
            .into_iter()
            .map(|it| (it.line, it.name, it.value, it.commented))
            .collect()
    }

    #[test]
    fn every_spelling_is_read() {
        let text = "A=1\r\n  export B = 'x # y' # note\n\n# C=old\n#D=\"q\\\"\\$\"\nE=\"two\nlines\"\nF=a#b c  # note\nG=\nexport\nnot an assignment\nH='no newline'";
        let expected = [
            (1, "A", "1", false),
            (2, "B", "x # y", false),
            (4, "C", "old", true),
            (5, "D", "q\"$", true),
            (6, "E", "two\nlines", false),
            (8, "F", "a#b c", false),
            (9, "G", "", false),
            (12, "H", "no newline", false),
        ];
        let expected: Vec<_> = expected
            .map(|(line, name, value, commented)| {
                (line, name.to_owned(), value.to_owned(), commented)
            })
            .to_vec();
        assert_eq!(read(text), expected);
        assert!(
            assignments(b"A='open\nB=2")
                .unwrap_err()
                .contains("line 1: the quotes of A are not closed")
        );
        for text in ["A='p'\\''w'", "A=\"x\"$B", "A='x' y"] {
            let error = assignments(text.as_bytes()).unwrap_err();
            assert!(
                error.contains("goes on after its quotes"),
                "{text}: {error}"
            );
        }
        assert!(assignments(b"A=`x`").unwrap_err().contains("backticks"));
        assert_eq!(read("# it's a note: A='x\n"), []);
    }

    #[test]
    fn a_value_is_written_so_that_it_is_read_again() {
        for old in ["A=mongodb://h/?a=1&b=2", "A='x'", "A=\"x\""] {
            let assignment = assignments(old.as_bytes()).unwrap().remove(0);
            for value in [
                "mongodb://u:p%40@h/d?a=1&b=2",
                "p#w",
                "p$w",
                "p\"w",
                "p'w",
                "p\\w",
                "p w",
                "p`w",
            ] {
                let Ok(text) = write(value, &assignment) else {
                    assert_eq!(value, "p'w", "{old}");
                    continue;
                };
                let line = format!("A={text}");
                assert_eq!(
                    assignments(line.as_bytes()).unwrap()[0].value,
                    value,
                    "{line}"
                );
            }
        }
    }
}
