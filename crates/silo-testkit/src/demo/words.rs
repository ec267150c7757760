//! Random ids, names and sentences.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::plan::{Demo, DocumentGenerator, scaled};

const SYLLABLES: [&str; 20] = [
    "ba", "ko", "mi", "ru", "sa", "te", "lo", "ni", "fu", "ga", "he", "jo", "ka", "le", "mo", "pi",
    "ra", "su", "ti", "vo",
];
const WORDS: [&str; 32] = [
    "wipe", "ink", "line", "box", "blue", "red", "paint", "hello", "night", "sun", "noise", "loop",
    "again", "soft", "screen", "tape", "clock", "wave", "dot", "field", "song", "piece", "glass",
    "river", "slow", "fast", "green", "pink", "moon", "late", "code", "dream",
];

impl Demo {
    /// Number of users, including the guest account.
    pub(super) fn users(&self) -> usize {
        scaled(4_217, self.scale)
    }

    /// The sub of a user. Place 0 is the guest account.
    pub(super) fn sub(&self, user: usize) -> String {
        if user == 0 {
            return "art-guest".into();
        }
        let id = hex(&self.digest("sub", user)[..12]);
        match user % 13 {
            0 => format!("google-oauth2|{}", user + 100_000_000),
            1 => format!("apple|{id}"),
            _ => format!("auth0|{id}"),
        }
    }

    /// A pronounceable name that no other place has.
    pub(super) fn name(&self, kind: &str, at: usize) -> String {
        let digest = self.digest(kind, at);
        let syllables: String = digest
            .iter()
            .take(3)
            .map(|byte| SYLLABLES[usize::from(*byte) % SYLLABLES.len()])
            .collect();
        format!("{syllables}{}", base36(at))
    }

    /// The `ObjectId` of a document, with its time in it.
    pub(super) fn object_id(&self, kind: &str, at: usize, minutes_ago: i64) -> ObjectId {
        let seconds =
            u32::try_from(self.ago(minutes_ago).timestamp_millis() / 1000).unwrap_or_default();
        let digest = self.digest(kind, at);
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4..].copy_from_slice(&digest[..8]);
        ObjectId::from_bytes(bytes)
    }
}

impl DocumentGenerator<'_> {
    /// A document with an `ObjectId`, made at a time that is older the lower its place, over `days`.
    pub(super) fn begin(&mut self, kind: &str, days: i64) -> (Document, DateTime) {
        let minutes = self.minutes_ago(days);
        let mut document = Document::new();
        document.insert("_id", self.demo.object_id(kind, self.at, minutes));
        (document, self.demo.ago(minutes))
    }

    /// Age of this document in minutes: documents are spread over `days`, the last is the newest.
    pub(super) fn minutes_ago(&mut self, days: i64) -> i64 {
        let span = days * 24 * 60;
        let at = i64::try_from(self.at).unwrap_or_default();
        let of = i64::try_from(self.of).unwrap_or(1).max(1);
        span - span * at / of - span / of / 2 + self.rng.random_range(0..60)
    }

    pub(super) fn some_user(&mut self) -> String {
        let users = self.demo.users().max(2);
        // A few are very active: the square draws towards the first.
        let drawn = self.rng.random_range(1..users) * self.rng.random_range(1..users) / users;
        self.demo.sub(drawn.clamp(1, users - 1))
    }

    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.rng).copied().unwrap_or_default()
    }

    pub(super) fn sentence(&mut self, words: std::ops::Range<usize>) -> String {
        let count = self.rng.random_range(words);
        (0..count)
            .map(|_| self.pick(&WORDS))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Hexadecimal text that looks random.
    pub(super) fn hash(&self, kind: &str) -> String {
        hex(&self.demo.digest(kind, self.at))
    }

    /// The short code of a thing, unique in its collection.
    pub(super) fn code(&self) -> String {
        base36(self.at + 36)
    }

    /// AC's slug: a time with dots.
    pub(super) fn slug(&self, when: DateTime) -> String {
        let time = jiff::Timestamp::from_millisecond(when.timestamp_millis()).unwrap_or_default();
        format!(
            "{}.{}",
            time.strftime("%Y.%-m.%-d.%-H.%-M.%-S"),
            100 + self.at % 900
        )
    }

    pub(super) fn number(&mut self, range: std::ops::Range<i32>) -> i32 {
        self.rng.random_range(range)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base36(mut number: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[number % 36]));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}
