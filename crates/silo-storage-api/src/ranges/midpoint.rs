//! Estimates the key half-way between two keys.

/// Characters of a key that are converted to a number. More would exceed the precision of a double.
const DIGITS: usize = 8;
/// Positions of a key that are modelled separately; later positions count as the last one.
const POSITIONS: usize = 96;
/// Character classes: where one character of a class occurs, the others are expected too.
const CLASSES: [&str; 4] = [
    "0123456789",
    "abcdef",
    "ghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
];

/// Characters seen at each position of the keys. A key is converted to a fraction with these as digits.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyModel {
    positions: Vec<Vec<char>>,
}

impl KeyModel {
    /// Adds a key's characters to the model.
    pub(super) fn observe(&mut self, key: &str) {
        for (position, letter) in key.chars().take(POSITIONS).enumerate() {
            if position == self.positions.len() {
                self.positions.push(Vec::new());
            }
            let known = &mut self.positions[position];
            if known.contains(&letter) {
                continue;
            }
            match CLASSES.iter().find(|class| class.contains(letter)) {
                Some(class) => known.extend(class.chars()),
                None if letter.is_ascii() => known.push(letter),
                // Other scripts have too many letters to model; they sort after all ASCII characters.
                None => continue,
            }
            known.sort_unstable();
            known.dedup();
        }
    }

    /// Characters at a position, sorted.
    fn letters(&self, position: usize) -> &[char] {
        let last = self.positions.len().saturating_sub(1);
        self.positions
            .get(position.min(last))
            .map_or(&[], Vec::as_slice)
    }

    /// Position of a key between the empty key (0) and the last one (1), considering only the characters from `position` on.
    fn fraction(&self, position: usize, text: &str) -> f64 {
        let mut scale = 1.0;
        let mut weight = 0.0;
        for (at, letter) in text.chars().take(DIGITS).enumerate() {
            let letters = self.letters(position + at);
            scale /= base(letters);
            // A letter that was never seen counts as the next one that was; the end of a key is below every letter.
            weight += scale * to_f64(letters.partition_point(|known| *known < letter) + 1);
        }
        weight.min(1.0)
    }

    /// Estimated share of the keys from `start` to `until` that sort before `after`, from 0 to 1; `None` if it cannot be estimated.
    pub(super) fn progress(&self, start: &str, after: &str, until: &str) -> Option<f64> {
        let frame = SharedPrefix::of(self, start, Some(until));
        let (from, at, to) = (
            frame.fraction(start),
            frame.fraction(after),
            frame.fraction(until),
        );
        (to > from).then(|| ((at - from) / (to - from)).clamp(0.0, 1.0))
    }

    /// Midpoint of the widest gap that sorted keys leave between `after` and `until`.
    pub(super) fn middle_of_widest(
        &self,
        after: &str,
        between: &[&str],
        until: Option<&str>,
    ) -> Option<String> {
        let frame = SharedPrefix::of(self, after, until);
        let mut low = after;
        let mut gaps = Vec::new();
        for high in between.iter().copied().map(Some).chain([until]) {
            let end = high.map_or(1.0, |high| frame.fraction(high));
            gaps.push((low, high, end - frame.fraction(low)));
            low = high.unwrap_or_default();
        }
        gaps.sort_by(|a, b| b.2.total_cmp(&a.2));
        gaps.into_iter()
            .find_map(|(low, high, _)| self.midpoint(low, high))
    }

    /// A key half-way between `after` and `until`; `None` if there is none between them.
    pub(super) fn midpoint(&self, after: &str, until: Option<&str>) -> Option<String> {
        let frame = SharedPrefix::of(self, after, until);
        let high = until.map_or(1.0, |until| frame.fraction(until));
        let mut rest = f64::midpoint(frame.fraction(after), high);
        let mut midpoint = after[..frame.bytes].to_owned();
        for at in 0..DIGITS {
            let letters = self.letters(frame.position + at);
            let first = letters.first()?;
            rest *= base(letters);
            let digit = letters
                .iter()
                .enumerate()
                .rev()
                .find(|(digit, _)| to_f64(digit + 1) <= rest);
            let (digit, letter) = digit.unwrap_or((0, first));
            rest = (rest - to_f64(digit + 1)).max(0.0);
            midpoint.push(*letter);
            if midpoint.as_str() > after && until.is_none_or(|until| midpoint.as_str() < until) {
                return Some(midpoint);
            }
        }
        None
    }
}

/// Common prefix of two keys; only the remainder is converted to a fraction.
struct SharedPrefix<'a> {
    key_model: &'a KeyModel,
    bytes: usize,
    position: usize,
}

impl<'a> SharedPrefix<'a> {
    fn of(key_model: &'a KeyModel, low: &str, high: Option<&str>) -> Self {
        let shared = low
            .chars()
            .zip(high.unwrap_or_default().chars())
            .take_while(|(x, y)| x == y);
        let (position, bytes) = shared.fold((0, 0), |(position, bytes), (letter, _)| {
            (position + 1, bytes + letter.len_utf8())
        });
        Self {
            key_model,
            bytes,
            position,
        }
    }

    fn fraction(&self, key: &str) -> f64 {
        self.key_model
            .fraction(self.position, key.get(self.bytes..).unwrap_or_default())
    }
}

/// First possible key after all keys with the same prefix, which ends at the first character that is neither letter nor digit. Most keys of a
/// bucket share a prefix, and one request shows whether any do not.
pub(super) fn after_first_separator(key: &str) -> Option<String> {
    let (at, mark) = key.char_indices().find(|(_, c)| !c.is_alphanumeric())?;
    let next = char::from_u32(u32::from(mark) + 1)?;
    Some(format!("{}{next}", &key[..at]))
}

/// Number base of a position: one more than its characters, because a key may also end there.
fn base(letters: &[char]) -> f64 {
    to_f64(letters.len() + 1)
}

fn to_f64(number: usize) -> f64 {
    f64::from(u16::try_from(number).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_model(letters: &str) -> KeyModel {
        let mut key_model = KeyModel::default();
        // Each character at every position.
        for letter in letters.chars() {
            key_model.observe(&letter.to_string().repeat(16));
        }
        key_model
    }

    #[test]
    fn the_midpoint_is_between_two_keys_and_about_half_way() {
        let hex = key_model("0123456789abcdef");
        assert_eq!(hex.midpoint("auth0|0", Some("auth0|f")).unwrap(), "auth0|7");
        assert_eq!(hex.midpoint("", None).unwrap(), "7");
        assert_eq!(hex.middle_of_widest("0", &["1", "2"], None).unwrap(), "9");
        for (low, high) in [
            ("img/00499", "img/00501"),
            ("a", "b"),
            ("a", "a0"),
            ("0", "00000001"),
            ("ü", "z"),
            ("9", "ü"),
            ("", "0"),
        ] {
            if let Some(midpoint) = hex.midpoint(low, Some(high)) {
                assert!(
                    low < midpoint.as_str() && midpoint.as_str() < high,
                    "{low} {midpoint} {high}"
                );
            }
        }
        assert_eq!(
            hex.midpoint("a", Some("a0")),
            None,
            "there is nothing between"
        );
    }

    #[test]
    fn progress_is_a_fraction_of_the_range() {
        let digits = key_model("0123456789");
        let half = digits.progress("k0", "k5", "k9").unwrap();
        assert!((0.4..0.7).contains(&half), "{half}");
        assert_eq!(digits.progress("k5", "k5", "k5"), None);
        assert_eq!(digits.progress("k1", "k1", "k9").unwrap(), 0.0);
    }

    #[test]
    fn a_prefix_ends_at_its_first_separator() {
        assert_eq!(after_first_separator("auth0|64ab/x").unwrap(), "auth0}");
        assert_eq!(after_first_separator("tapes/abc.mp4").unwrap(), "tapes0");
        assert_eq!(after_first_separator("plain"), None);
    }
}
