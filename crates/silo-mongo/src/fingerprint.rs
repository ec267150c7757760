//! Fingerprint of a collection, to compare two copies: number of documents and bytes, and two digests over the BSON.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A fingerprint while documents are added.
#[derive(Clone, Default)]
pub struct Fingerprint {
    documents: u64,
    bytes: u64,
    sequence: Sha256,
    set: [u64; 4],
}

/// A finished fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sums {
    /// Number of documents.
    pub documents: u64,
    /// Size of all documents as BSON, in bytes.
    pub bytes: u64,
    /// SHA-256 over all documents in their order, in hexadecimal; equal to `sha256sum` of the `.bson` file that mongodump writes.
    pub sha256: String,
    /// The sum modulo 2^256 of each document's SHA-256, in hexadecimal: the same whatever the order.
    pub set: String,
}

impl Fingerprint {
    /// Adds one document, as BSON.
    pub fn add(&mut self, document: &[u8]) {
        self.documents += 1;
        self.bytes += u64::try_from(document.len()).unwrap_or(u64::MAX);
        self.sequence.update(document);
        let digest: [u8; 32] = Sha256::digest(document).into();
        let mut carry = false;
        for (word, bytes) in self.set.iter_mut().zip(digest.chunks_exact(8)) {
            let term = bytes
                .iter()
                .rev()
                .fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte));
            let (sum, over) = word.overflowing_add(term);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, over || over_again);
        }
    }

    /// Fingerprint of the added documents.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let words = self.set.iter().flat_map(|word| word.to_le_bytes());
        Sums {
            documents: self.documents,
            bytes: self.bytes,
            sha256: format!("{:x}", self.sequence.clone().finalize()),
            set: words.map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl Sums {
    /// Compares the documents, in any order.
    #[must_use]
    pub fn same_documents(&self, other: &Self) -> bool {
        (self.documents, self.bytes, &self.set) == (other.documents, other.bytes, &other.set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(documents: &[&[u8]]) -> Sums {
        let mut all = Fingerprint::default();
        documents.iter().for_each(|document| all.add(document));
        all.sums()
    }

    #[test]
    fn order_changes_the_sequence_and_not_the_set() {
        let (one, other) = (of(&[b"a", b"b", b"c"]), of(&[b"c", b"a", b"b"]));
        assert!(one.same_documents(&other));
        assert_ne!(one.sha256, other.sha256);
    }

    #[test]
    fn any_other_documents_have_another_set() {
        let one = of(&[b"a", b"b"]);
        for other in [&[b"a".as_slice(), b"c"], &[b"ab", b""], &[b"a", b"a"]] {
            assert!(!one.same_documents(&of(other)));
        }
        assert!(!of(&[b"a"]).same_documents(&of(&[b"a", b"a", b"a"])));
    }

    #[test]
    fn the_digest_equals_sha256sum_of_the_concatenation() {
        assert_eq!(
            of(&[b"ab", b"c"]).sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
