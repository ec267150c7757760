//! Collections, options, indexes and views: commands in random orders.

use silo_mongo::mongodb::bson::{Document, doc};

use silo_testkit::workloads::workloads;

use crate::random::Random;
use crate::server::{DATABASE, Server};

const NAMES: [&str; 4] = ["one", "two", "three", "tmp.four"];
const VIEWS: [&str; 2] = ["seen", "shown"];

impl Random {
    fn of(&mut self) -> &'static str {
        NAMES[self.below(NAMES.len())]
    }

    fn index(&mut self) -> Document {
        let field = ["a", "b", "at"][self.below(3)];
        let key = doc! { field: 1 };
        let name = format!("{field}_1");
        match self.below(9) {
            0 => doc! { "key": key, "name": name, "unique": true, "sparse": true },
            1 | 2 => doc! { "key": key, "name": name, "expireAfterSeconds": 1_000_000 },
            3 => doc! { "key": key, "name": name, "hidden": true },
            4 => {
                doc! { "key": key, "name": name, "partialFilterExpression": { "a": { "$gt": 5 } } }
            }
            5 => {
                doc! { "key": { "t": "text", "u": "text" }, "name": "t_text", "weights": { "u": 5 } }
            }
            6 => doc! { "key": { "p": "2dsphere" }, "name": "p_2dsphere" },
            7 => doc! { "key": { "$**": 1 }, "name": "all", "wildcardProjection": { "a": 0 } },
            _ => {
                doc! { "key": { "a": "hashed" }, "name": "a_hashed", "collation": { "locale": "simple" } }
            }
        }
    }

    fn structure(&mut self) -> Document {
        let name = self.of();
        let field = ["a", "b", "at"][self.below(3)];
        match self.below(25) {
            0 => doc! { "create": name },
            1 => {
                doc! { "create": name, "validator": { "a": { "$ne": "never" } }, "validationLevel": "moderate" }
            }
            2 => doc! { "create": name, "collation": { "locale": "de", "strength": 2 } },
            3 => doc! { "create": name, "changeStreamPreAndPostImages": { "enabled": true } },
            4 => doc! { "create": name, "clusteredIndex": { "key": { "_id": 1 }, "unique": true } },
            5 | 6 => doc! { "drop": name },
            7..=11 => doc! { "createIndexes": name, "indexes": [self.index()] },
            12 => doc! { "dropIndexes": name, "index": format!("{field}_1") },
            13 => {
                doc! { "dropIndexes": name, "index": if self.below(4) == 0 { "*" } else { "t_text" } }
            }
            14 => {
                doc! { "collMod": name, "index": { "name": format!("{field}_1"), "expireAfterSeconds": 2_000_000 } }
            }
            15 => {
                doc! { "collMod": name, "index": { "keyPattern": { field: 1 }, "hidden": self.below(2) == 0 } }
            }
            16 => {
                doc! { "collMod": name, "index": { "name": format!("{field}_1"), "prepareUnique": self.below(2) == 0 } }
            }
            17 => {
                doc! { "collMod": name, "index": { "name": format!("{field}_1"), "unique": true } }
            }
            18 => {
                doc! { "collMod": name, "validator": if self.below(2) == 0 { doc! {} } else { doc! { "b": { "$ne": 7 } } }, "validationAction": "warn" }
            }
            19 => {
                doc! { "collMod": name, "changeStreamPreAndPostImages": { "enabled": self.below(2) == 0 } }
            }
            20 => doc! { "convertToCapped": name, "size": 1_000_000 },
            21 => doc! { "collMod": name, "cappedSize": 2_000_000, "cappedMax": 500 },
            22 => {
                let view = VIEWS[self.below(2)];
                doc! { "create": view, "viewOn": name, "pipeline": [{ "$match": { "a": 1 } }] }
            }
            23 => {
                let view = VIEWS[self.below(2)];
                doc! { "collMod": view, "viewOn": name, "pipeline": [{ "$match": { "b": { "$gt": 2 } } }, { "$limit": 3 }] }
            }
            _ => doc! { "drop": VIEWS[self.below(2)] },
        }
    }
}

async fn insert(server: &Server, name: &str, random: &mut Random) {
    let mut document = random.whole();
    document.insert("t", "words");
    document.insert("b", 3);
    server
        .command(doc! { "insert": name, "documents": [document] })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_in_random_orders_give_the_structure_of_the_next_backup() {
    let server = Server::new().await;
    let mut base = server.base().await;
    for seed in 0..workloads(12) {
        let mut random = Random::new(seed);
        for _ in 0..40 {
            let command = random.structure();
            server.command(command).await;
            let name = random.of();
            insert(&server, name, &mut random).await;
            let from = format!("{DATABASE}.{}", random.of());
            let to = format!("{DATABASE}.{}", random.of());
            match random.below(12) {
                0 => {
                    let rename = doc! { "renameCollection": from, "to": to, "dropTarget": random.below(2) == 0 };
                    drop(server.client.database("admin").run_command(rename).await);
                }
                1 => {
                    let out = doc! { "aggregate": random.of(), "pipeline": [{ "$match": { "b": 3 } }, { "$out": random.of() }], "cursor": {} };
                    server.command(out).await;
                }
                2 => {
                    let merge = doc! { "aggregate": random.of(), "pipeline": [{ "$merge": { "into": random.of() } }], "cursor": {} };
                    server.command(merge).await;
                }
                _ => {}
            }
            if random.below(60) == 0 {
                server.command(doc! { "dropDatabase": 1 }).await;
            }
        }
        let next = server.base().await;
        server
            .assert_same(&base, &next, &format!("seed {seed}"))
            .await;
        base = next;
    }
}
