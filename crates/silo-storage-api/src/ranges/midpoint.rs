//! A key between two keys, about half-way as keys go.

/// The longest part of a key that is weighed, in characters. More would not fit a double.
const DIGITS: usize = 8;
/// Positions of a key that are modelled separately; later positions count as the last one.
const PLACES: usize = 96;
/// Character classes: where one character of a class occurs, the others are expected too.
const CLASSES: [&str; 4] = [
    "0123456789",
    "abcdef",
    "ghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
];

/// The characters that keys have at each place, as far as was seen. Keys are weighed as numbers with these as digits.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyModel {
    places: Vec<Vec<char>>,
}

impl KeyModel {
    /// Takes note of a key's characters.
    pub(super) fn observe(&mut self, key: &str) {
        for (place, letter) in key.chars().take(PLACES).enumerate() {
            if place == self.places.len() {
                self.places.push(Vec::new());
            }
            let known = &mut self.places[place];
            if known.contains(&letter) {
                continue;
            }
            match CLASSES.iter().find(|class| class.contains(letter)) {
                Some(class) => known.extend(class.chars()),
                None if letter.is_ascii() => known.push(letter),
                // Other scripts have too many letters to halve; they lie above all that are known.
                None => continue,
            }
            known.sort_unstable();
            known.dedup();
        }
    }

    /// The characters at a place, in order.
    fn letters(&self, place: usize) -> &[char] {
        let last = self.places.len().saturating_sub(1);
        self.places.get(place.min(last)).map_or(&[], Vec::as_slice)
    }

    /// Position of a key between the empty key (0) and the last one (1), considering only the characters from `place` on.
    fn weigh(&self, place: usize, text: &str) -> f64 {
        let mut scale = 1.0;
        let mut weight = 0.0;
        for (at, letter) in text.chars().take(DIGITS).enumerate() {
            let letters = self.letters(place + at);
            scale /= base(letters);
            // A letter that was never seen counts as the next one that was; the end of a key is below every letter.
            weight += scale * small(letters.partition_point(|known| *known < letter) + 1);
        }
        weight.min(1.0)
    }

    /// Share of the way from `start` to `until` that lies before `after`, from 0 to 1; `None` if it cannot be estimated.
    pub(super) fn progress(&self, start: &str, after: &str, until: &str) -> Option<f64> {
        let frame = Frame::of(self, start, Some(until));
        let (from, at, to) = (frame.weigh(start), frame.weigh(after), frame.weigh(until));
        (to > from).then(|| ((at - from) / (to - from)).clamp(0.0, 1.0))
    }

    /// The middle of the widest gap that some keys, in order, leave between `after` and `until`.
    pub(super) fn middle_of_widest(
        &self,
        after: &str,
        between: &[&str],
        until: Option<&str>,
    ) -> Option<String> {
        let frame = Frame::of(self, after, until);
        let mut low = after;
        let mut gaps = Vec::new();
        for high in between.iter().copied().map(Some).chain([until]) {
            let end = high.map_or(1.0, |high| frame.weigh(high));
            gaps.push((low, high, end - frame.weigh(low)));
            low = high.unwrap_or_default();
        }
        gaps.sort_by(|a, b| b.2.total_cmp(&a.2));
        gaps.into_iter()
            .find_map(|(low, high, _)| self.midpoint(low, high))
    }

    /// A key above `after` and below `until`, half-way between them; `None` when there is no room.
    pub(super) fn midpoint(&self, after: &str, until: Option<&str>) -> Option<String> {
        let frame = Frame::of(self, after, until);
        let high = until.map_or(1.0, |until| frame.weigh(until));
        let mut rest = f64::midpoint(frame.weigh(after), high);
        let mut midpoint = after[..frame.bytes].to_owned();
        for at in 0..DIGITS {
            let letters = self.letters(frame.place + at);
            let first = letters.first()?;
            rest *= base(letters);
            let digit = letters
                .iter()
                .enumerate()
                .rev()
                .find(|(digit, _)| small(digit + 1) <= rest);
            let (digit, letter) = digit.unwrap_or((0, first));
            rest = (rest - small(digit + 1)).max(0.0);
            midpoint.push(*letter);
            if midpoint.as_str() > after && until.is_none_or(|until| midpoint.as_str() < until) {
                return Some(midpoint);
            }
        }
        None
    }
}

/// Common prefix of two keys; only the remainder is weighed.
struct Frame<'a> {
    alphabet: &'a KeyModel,
    bytes: usize,
    place: usize,
}

impl<'a> Frame<'a> {
    fn of(alphabet: &'a KeyModel, low: &str, high: Option<&str>) -> Self {
        let shared = low
            .chars()
            .zip(high.unwrap_or_default().chars())
            .take_while(|(x, y)| x == y);
        let (place, bytes) = shared.fold((0, 0), |(place, bytes), (letter, _)| {
            (place + 1, bytes + letter.len_utf8())
        });
        Self {
            alphabet,
            bytes,
            place,
        }
    }

    fn weigh(&self, key: &str) -> f64 {
        self.alphabet
            .weigh(self.place, key.get(self.bytes..).unwrap_or_default())
    }
}

/// The first key after everything that begins as this one does, up to its first mark that is no letter and no digit. Keys of one
/// bucket mostly share such a beginning, and whether any do not is worth one question.
pub(super) fn past_first_mark(key: &str) -> Option<String> {
    let (at, mark) = key.char_indices().find(|(_, c)| !c.is_alphanumeric())?;
    let next = char::from_u32(u32::from(mark) + 1)?;
    Some(format!("{}{next}", &key[..at]))
}

/// One more than there are letters: a key may also end.
fn base(letters: &[char]) -> f64 {
    small(letters.len() + 1)
}

fn small(number: usize) -> f64 {
    f64::from(u16::try_from(number).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alphabet(letters: &str) -> KeyModel {
        let mut alphabet = KeyModel::default();
        // Each of them at every place.
        for letter in letters.chars() {
            alphabet.observe(&letter.to_string().repeat(16));
        }
        alphabet
    }

    #[test]
    fn the_middle_lies_between_and_halves_the_way() {
        let hex = alphabet("0123456789abcdef");
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
    fn progress_is_a_part_of_the_way() {
        let digits = alphabet("0123456789");
        let half = digits.progress("k0", "k5", "k9").unwrap();
        assert!((0.4..0.7).contains(&half), "{half}");
        assert_eq!(digits.progress("k5", "k5", "k5"), None);
        assert_eq!(digits.progress("k1", "k1", "k9").unwrap(), 0.0);
    }

    #[test]
    fn a_beginning_ends_at_its_first_mark() {
        assert_eq!(past_first_mark("auth0|64ab/x").unwrap(), "auth0}");
        assert_eq!(past_first_mark("tapes/abc.mp4").unwrap(), "tapes0");
        assert_eq!(past_first_mark("plain"), None);
    }
}
