//! Chat messages and mutes.

use mongodb::bson::{Document, doc};

use super::plan::{DocumentGenerator, Index, Plan, index};

const BY_TIME: &[Index] = &[index(&[("when", 1)])];
const BY_USER: &[Index] = &[index(&[("user", 1)]).unique()];

pub(super) const PLANS: &[Plan] = &[
    Plan {
        name: "chat-system",
        documents: 17_853,
        make: message,
        indexes: BY_TIME,
    },
    Plan {
        name: "chat-clock",
        documents: 13_465,
        make: message,
        indexes: BY_TIME,
    },
    Plan {
        name: "chat-sotce",
        documents: 280,
        make: message,
        indexes: BY_TIME,
    },
    Plan {
        name: "chat-system-mutes",
        documents: 9,
        make: mute,
        indexes: BY_USER,
    },
    Plan {
        name: "chat-clock-mutes",
        documents: 3,
        make: mute,
        indexes: BY_USER,
    },
    Plan {
        name: "chat-sotce-mutes",
        documents: 2,
        make: mute,
        indexes: BY_USER,
    },
];

fn message(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut message, when) = maker.begin("message", 900);
    // Older account deletions blanked messages instead of removing them.
    let blanked = maker.chance(1);
    let user = if blanked {
        String::new()
    } else {
        maker.some_user()
    };
    let text = if blanked {
        String::new()
    } else {
        maker.sentence(1..18)
    };
    message.extend(doc! { "user": user, "text": text, "when": when });
    if maker.chance(40) {
        message.insert("font", "font_1");
    }
    message
}

fn mute(maker: &mut DocumentGenerator<'_>) -> Document {
    let (mut mute, _) = maker.begin("mute", 400);
    mute.insert("user", maker.demo.sub(maker.at + 1));
    mute
}
