//! Tables of the SQLite file, and the fields that fill their columns.

/// Kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text; an `_id` or another value as its text.
    Text,
    /// A whole number, or 0 and 1 of a boolean.
    Integer,
    /// A date as ISO 8601 text.
    Time,
}
use Kind::{Integer, Text, Time};

/// A column, and the path of its field.
pub(super) type Column = (&'static str, &'static str, Kind);

/// A table, and the collection whose documents are its rows.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) collection: &'static str,
    /// Value of the column `instance`, of tables that several collections share.
    pub(super) instance: Option<&'static str>,
    /// The first column holds the `_id`.
    pub(super) columns: &'static [Column],
}

const fn table(name: &'static str, collection: &'static str, columns: &'static [Column]) -> Table {
    Table {
        name,
        collection,
        instance: None,
        columns,
    }
}

const fn chat(collection: &'static str, instance: &'static str) -> Table {
    Table {
        name: "chat_messages",
        collection,
        instance: Some(instance),
        columns: &[
            ("id", "_id", Text),
            ("user_id", "user", Text),
            ("text", "text", Text),
            ("font", "font", Text),
            ("created_at", "when", Time),
        ],
    }
}

const fn mutes(collection: &'static str, instance: &'static str) -> Table {
    Table {
        name: "chat_mutes",
        collection,
        instance: Some(instance),
        columns: &[("id", "_id", Text), ("user_id", "user", Text)],
    }
}

/// Tables with columns for fields. A collection without one is in the table `documents`.
pub(super) const TABLES: &[Table] = &[
    table(
        "users",
        "users",
        &[
            ("id", "_id", Text),
            ("code", "code", Text),
            ("email", "email", Text),
            ("stripe_id", "stripeId", Text),
            ("tezos_address", "tezos.address", Text),
            ("atproto_did", "atproto.did", Text),
            ("atproto_handle", "atproto.handle", Text),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "handles",
        "@handles",
        &[("user_id", "_id", Text), ("handle", "handle", Text)],
    ),
    table(
        "verifications",
        "verifications",
        &[("user_id", "_id", Text), ("verified", "count", Integer)],
    ),
    table(
        "paintings",
        "paintings",
        &[
            ("id", "_id", Text),
            ("slug", "slug", Text),
            ("code", "code", Text),
            ("user_id", "user", Text),
            ("hash", "hash", Text),
            ("bucket", "bucket", Text),
            ("nuked", "nuked", Integer),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "pieces",
        "pieces",
        &[
            ("id", "_id", Text),
            ("slug", "slug", Text),
            ("user_id", "user", Text),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "kidlisp",
        "kidlisp",
        &[
            ("id", "_id", Text),
            ("code", "code", Text),
            ("hash", "hash", Text),
            ("user_id", "user", Text),
            ("text", "source", Text),
            ("hits", "hits", Integer),
            ("kept_network", "kept.network", Text),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "moods",
        "moods",
        &[
            ("id", "_id", Text),
            ("user_id", "user", Text),
            ("mood", "mood", Text),
            ("deleted", "deleted", Integer),
            ("atproto_rkey", "atproto.rkey", Text),
            ("bluesky_uri", "bluesky.uri", Text),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "tapes",
        "tapes",
        &[
            ("id", "_id", Text),
            ("code", "code", Text),
            ("slug", "slug", Text),
            ("user_id", "user", Text),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "clocks",
        "clocks",
        &[
            ("id", "_id", Text),
            ("code", "code", Text),
            ("hash", "hash", Text),
            ("user_id", "user", Text),
            ("hits", "hits", Integer),
            ("created_at", "when", Time),
        ],
    ),
    chat("chat-system", "system"),
    chat("chat-sotce", "sotce"),
    chat("chat-clock", "clock"),
    mutes("chat-system-mutes", "system"),
    mutes("chat-sotce-mutes", "sotce"),
    mutes("chat-clock-mutes", "clock"),
    table(
        "news_posts",
        "news-posts",
        &[
            ("id", "_id", Text),
            ("code", "code", Text),
            ("user_id", "user", Text),
            ("title", "title", Text),
            ("url", "url", Text),
            ("text", "text", Text),
            ("score", "score", Integer),
            ("status", "status", Text),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "news_comments",
        "news-comments",
        &[
            ("id", "_id", Text),
            ("post_code", "postCode", Text),
            ("parent_id", "parentId", Text),
            ("user_id", "user", Text),
            ("text", "text", Text),
            ("score", "score", Integer),
            ("status", "status", Text),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "news_votes",
        "news-votes",
        &[
            ("id", "_id", Text),
            ("item_type", "itemType", Text),
            ("item_id", "itemId", Text),
            ("user_id", "user", Text),
            ("created_at", "when", Time),
        ],
    ),
    table(
        "piece_hits",
        "piece-hits",
        &[
            ("id", "_id", Text),
            ("piece", "piece", Text),
            ("hits", "hits", Integer),
        ],
    ),
    table(
        "piece_user_hits",
        "piece-user-hits",
        &[
            ("id", "_id", Text),
            ("piece", "piece", Text),
            ("user_id", "user", Text),
            ("hits", "hits", Integer),
        ],
    ),
    table("products", "products", &[("id", "_id", Text)]),
    table("tickets", "tickets", &[("id", "_id", Text)]),
    table("secrets", "secrets", &[("id", "_id", Text)]),
    table("servers", "servers", &[("id", "_id", Text)]),
    table(
        "sotce_pages",
        "sotce-pages",
        &[
            ("id", "_id", Text),
            ("user_id", "user", Text),
            ("state", "state", Text),
        ],
    ),
    table(
        "sotce_touches",
        "sotce-touches",
        &[
            ("id", "_id", Text),
            ("user_id", "user", Text),
            ("page", "page", Text),
        ],
    ),
    table("sotce_asks", "sotce-asks", &[("id", "_id", Text)]),
];
