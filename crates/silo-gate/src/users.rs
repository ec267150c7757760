//! Names and the argon2id hashes of their passwords.

use std::collections::BTreeMap;
use std::fmt;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{Output, PasswordHash, PasswordHasher, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// The most memory that a hash may ask for, in KiB: one is checked at a time, in a process that may have 40 MiB.
const MOST_MEMORY: u32 = 8 * 1024;
/// Cost of a new hash, in KiB and passes. OWASP lists several equivalent settings; this one takes the least memory.
const COST: (u32, u32) = (7 * 1024, 5);
/// The shortest password that a line is made for.
const SHORTEST: usize = 8;

/// Everybody who may come in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    hashes: BTreeMap<String, String>,
    /// Hash that is checked for unknown names, so that they take equally long.
    nobody: String,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.hashes.keys()).finish()
    }
}

impl Users {
    /// Reads lines of a name, a blank, and an argon2id hash in PHC format (`$argon2id$v=19$...`).
    ///
    /// # Errors
    /// The problems by line number, without the content of the line.
    pub fn read(lines: &str) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut hashes = BTreeMap::new();
        let lines = lines.lines().map(str::trim).enumerate();
        for (at, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            match entry(line) {
                Ok((name, hash)) => drop(hashes.insert(name, hash)),
                Err(why) => problems.push(format!("line {}: {why}", at + 1)),
            }
        }
        let Some(nobody) = hashes.values().next().cloned() else {
            if problems.is_empty() {
                problems.push("no user may sign in; `silo-gate hash NAME` creates a line".into());
            }
            return Err(problems);
        };
        if problems.is_empty() {
            Ok(Self { hashes, nobody })
        } else {
            Err(problems)
        }
    }

    /// A user's password hash.
    #[must_use]
    pub fn hash(&self, name: &str) -> Option<&str> {
        self.hashes.get(name).map(String::as_str)
    }

    /// Number of users.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Verifies a password. Takes equally long for unknown names.
    #[must_use]
    pub fn is_password(&self, name: &str, password: &str, memory: &mut Memory) -> bool {
        let known = self.hashes.get(name);
        let matches = memory.matches(known.unwrap_or(&self.nobody), password.as_bytes());
        matches.unwrap_or(false) && known.is_some()
    }
}

/// Work memory of argon2, reused between hashes: glibc would neither reuse nor return a new allocation of this size.
pub struct Memory(Vec<Block>);

impl Default for Memory {
    fn default() -> Self {
        Self(vec![Block::new(); MOST_MEMORY as usize])
    }
}

impl Memory {
    /// Verifies a password against a hash; `None` if the hash cannot be parsed.
    fn matches(&mut self, hash: &str, password: &[u8]) -> Option<bool> {
        let hash = PasswordHash::new(hash).ok()?;
        let (wanted, params) = (hash.hash?, Params::try_from(&hash).ok()?);
        let mut salt = [0; Salt::MAX_LENGTH];
        let salt = hash.salt?.decode_b64(&mut salt).ok()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let found = Output::init_with(wanted.len(), |found| {
            let hashed = argon2.hash_password_into_with_memory(password, salt, found, &mut self.0);
            Ok(hashed?)
        });
        // Compared in constant time.
        Some(found.ok()? == wanted)
    }
}

fn entry(line: &str) -> Result<(String, String), &'static str> {
    let (name, hash) = line
        .split_once(char::is_whitespace)
        .ok_or("a name, a blank and a hash are expected")?;
    check_name(name)?;
    let hash = hash.trim();
    let parsed = PasswordHash::new(hash)
        .map_err(|_unreadable| "the hash is invalid; `silo-gate hash NAME` creates one")?;
    if parsed.algorithm != Algorithm::Argon2id.ident() || parsed.hash.is_none() {
        return Err("the hash is not of argon2id");
    }
    match parsed.params.get_decimal("m") {
        Some(memory) if memory <= MOST_MEMORY => Ok((name.to_owned(), hash.to_owned())),
        _ => Err(
            "the hash asks for more than 8 MiB of memory; `silo-gate hash NAME` makes a smaller one",
        ),
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err("a name has letters, digits, and any of - _ . @")
    }
}

/// Formats a line for a name and a password (OWASP Password Storage Cheat Sheet: argon2id, 7 MiB, five passes).
///
/// # Errors
/// The problem with the name or the password.
pub fn line(name: &str, password: &str) -> Result<String, String> {
    check_name(name)?;
    if password.chars().count() < SHORTEST {
        return Err(format!("a password has at least {SHORTEST} characters"));
    }
    let salt = SaltString::generate(&mut OsRng);
    let cost = Params::new(COST.0, COST.1, 1, None).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost);
    let hash = argon2.hash_password(password.as_bytes(), &salt);
    let hash = hash.map_err(|error| format!("this password cannot be hashed: {error}"))?;
    Ok(format!("{name} {hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_valid_only_for_its_name() {
        let lines = [
            line("jeffrey", "correct horse").unwrap(),
            line("other", "battery staple").unwrap(),
        ];
        let users = Users::read(&lines.join("\n")).unwrap();
        let mut memory = Memory::default();
        let mut matches = |name, password| users.is_password(name, password, &mut memory);
        assert!(matches("jeffrey", "correct horse"));
        assert!(!matches("jeffrey", "battery staple"));
        assert!(
            !matches("nobody", "correct horse"),
            "nobody has no password"
        );
        assert!(!matches("", ""));
    }

    #[test]
    fn problems_are_reported_by_line_without_the_hash() {
        let good = line("a", "long enough").unwrap();
        let lines = format!(
            "# a comment\n{good}\nb hunter2\n\nc $2a$10$abcdefghijklmnopqrstuv\nx:y {}",
            good.split_once(' ').unwrap().1
        );
        let problems = Users::read(&lines).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for (problem, number) in problems.iter().zip([3, 5, 6]) {
            assert!(
                problem.starts_with(&format!("line {number}: ")),
                "{problem}"
            );
            assert!(
                !problem.contains('$') && !problem.contains("hunter2"),
                "{problem}"
            );
        }
        let heavy = good.replace("m=7168", "m=1048576");
        assert!(Users::read(&heavy).unwrap_err()[0].contains("8 MiB"));
        assert!(Users::read("# nobody\n").is_err());
        assert!(line("a", "short").is_err() && line("a b", "long enough").is_err());
        assert!(!format!("{:?}", Users::read(&good).unwrap()).contains("argon2"));
    }
}
