//! Owner and kind of an object, from its key. The one place that knows AC's key layouts in Spaces (domain facts, 3.3).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Key layout of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `{sub}/...`: what signed-in users keep.
    Users,
    /// `tapes/{code}.mp4`: videos and stills by tape code.
    Tapes,
    /// Media of guests and output of oven; without an owner.
    Guests,
    /// Anything else; without an owner.
    Plain,
}

impl Layout {
    /// The layout of one of AC's own buckets; [`Layout::Plain`] for any other.
    #[must_use]
    pub fn of_bucket(name: &str) -> Self {
        match name {
            "user-aesthetic-computer" => Self::Users,
            "at-blobs-aesthetic-computer" => Self::Tapes,
            "art-aesthetic-computer" => Self::Guests,
            _ => Self::Plain,
        }
    }

    /// Owner and kind of an object, from its key.
    #[must_use]
    pub fn place<'a>(self, key: &'a str) -> Place<'a> {
        match self {
            Self::Users => {
                let (first, rest) = key.split_once('/').unwrap_or(("", key));
                Place {
                    // A sub has its provider before a bar; other keys at the root have no owner.
                    owner: if first.contains('|') || first.contains("%7C") {
                        Owner::Sub(first)
                    } else {
                        Owner::Nobody
                    },
                    kind: Kind::of_user_key(rest),
                }
            }
            Self::Tapes => Place {
                owner: tape_code(key).map_or(Owner::Nobody, Owner::Tape),
                kind: Kind::of_extension(key),
            },
            Self::Guests => Place {
                owner: Owner::Nobody,
                kind: Kind::of_guest_key(key),
            },
            Self::Plain => Place {
                owner: Owner::Nobody,
                kind: Kind::of_extension(key),
            },
        }
    }
}

/// The code in `tapes/{code}.mp4` and `tapes/{code}-thumb.jpg`.
fn tape_code(key: &str) -> Option<&str> {
    let name = key.strip_prefix("tapes/")?;
    let (stem, _) = name.rsplit_once('.')?;
    let code = stem.strip_suffix("-thumb").unwrap_or(stem);
    let plain = !code.is_empty()
        && code.len() <= 64
        && code
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    plain.then_some(code)
}

/// Owner and kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Owner of the object.
    pub owner: Owner<'a>,
    /// Kind of the object.
    pub kind: Kind,
}

/// Owner of an object, as far as its key identifies one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The user with this sub, as it stands in the key.
    Sub(&'a str),
    /// The author of the tape with this code.
    Tape(&'a str),
    /// No owner in the key.
    Nobody,
}

/// Kind of an object.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A painting.
    Painting,
    /// A piece: code that runs.
    Piece,
    /// A video.
    Video,
    /// A recording of a painting or a tape, as an archive.
    Zip,
    /// Another picture.
    Image,
    /// Sound.
    Audio,
    /// A shape in three dimensions.
    Model,
    /// Made by the oven: icons, previews, grabs; and pictures for other sites.
    Oven,
    /// Any other kind.
    Other,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Painting,
        Self::Piece,
        Self::Video,
        Self::Zip,
        Self::Image,
        Self::Audio,
        Self::Model,
        Self::Oven,
        Self::Other,
    ];

    /// Index in [`Kind::ALL`].
    #[must_use]
    pub fn number(self) -> usize {
        Self::ALL
            .iter()
            .position(|kind| *kind == self)
            .unwrap_or(Self::ALL.len() - 1)
    }

    /// `painting/{slug}.png`, `piece/{slug}.mjs`, another media word, or a file at the user's root.
    fn of_user_key(rest: &str) -> Self {
        match rest.split_once('/') {
            Some(("painting", _)) => Self::Painting,
            Some(("piece", _)) => Self::Piece,
            _ => Self::of_extension(rest),
        }
    }

    /// Guests' uploads lie at the root; what machines make lies in folders.
    fn of_guest_key(key: &str) -> Self {
        match key.split_once('/') {
            Some(("oven" | "og", _)) => Self::Oven,
            None if Self::of_extension(key) == Self::Image => Self::Painting,
            _ => Self::of_extension(key),
        }
    }

    fn of_extension(key: &str) -> Self {
        let name = key.rsplit('/').next().unwrap_or(key);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let is = |known: &[&str]| {
            known
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        };
        match () {
            () if is(&["png", "jpg", "jpeg", "gif", "webp", "svg", "ico", "avif"]) => Self::Image,
            () if is(&["mjs", "lisp", "js"]) => Self::Piece,
            () if is(&["mp4", "webm", "mov"]) => Self::Video,
            () if is(&["zip"]) => Self::Zip,
            () if is(&["m4a", "mp3", "ogg", "wav", "opus", "flac"]) => Self::Audio,
            () if is(&["glb", "gltf", "obj", "stl"]) => Self::Model,
            () => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(key: &str) -> (Owner<'_>, Kind) {
        let place = Layout::Users.place(key);
        (place.owner, place.kind)
    }

    #[test]
    fn the_first_segment_is_the_user_when_it_is_a_sub() {
        assert_eq!(
            user("auth0|64ab/painting/2025.png"),
            (Owner::Sub("auth0|64ab"), Kind::Painting)
        );
        assert_eq!(
            user("google-oauth2|1/piece/a.mjs"),
            (Owner::Sub("google-oauth2|1"), Kind::Piece)
        );
        assert_eq!(
            user("auth0%7C64ab/2025.zip"),
            (Owner::Sub("auth0%7C64ab"), Kind::Zip)
        );
        assert_eq!(
            user("auth0|64ab/video/a.mp4"),
            (Owner::Sub("auth0|64ab"), Kind::Video)
        );
        assert_eq!(
            user("auth0|64ab//x"),
            (Owner::Sub("auth0|64ab"), Kind::Other)
        );
        for nobody in [
            "legacy.png",
            "auth0|64ab",
            "folder/x.png",
            "/auth0|64ab/x.png",
            "",
        ] {
            assert_eq!(user(nobody).0, Owner::Nobody, "{nobody}");
        }
    }

    #[test]
    fn a_tape_is_known_by_its_code() {
        let owner = |key| Layout::Tapes.place(key).owner;
        assert_eq!(owner("tapes/abc.mp4"), Owner::Tape("abc"));
        assert_eq!(owner("tapes/abc-thumb.jpg"), Owner::Tape("abc"));
        for nobody in [
            "tapes/",
            "tapes/.mp4",
            "abc.mp4",
            "tapes/a,b.mp4",
            "tapes/x/y.mp4",
        ] {
            assert_eq!(owner(nobody), Owner::Nobody, "{nobody}");
        }
    }

    #[test]
    fn guests_have_kinds_and_no_owner() {
        let of = |key| Layout::Guests.place(key);
        assert_eq!(
            of("a1b2c3d4.png"),
            Place {
                owner: Owner::Nobody,
                kind: Kind::Painting
            }
        );
        assert_eq!(
            of("oven/icons/prompt-128x128-a1b2c3d4.png").kind,
            Kind::Oven
        );
        assert_eq!(of("og/news/abc.png").kind, Kind::Oven);
        assert_eq!(of("2025.10.9.zip").kind, Kind::Zip);
        assert_eq!(of("noextension").kind, Kind::Other);
    }

    #[test]
    fn every_kind_has_its_number() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.number(), at);
        }
    }
}
