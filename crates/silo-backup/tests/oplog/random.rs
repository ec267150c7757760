//! Random documents, and random changes of them.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use silo_mongo::mongodb::bson::oid::ObjectId;
use silo_mongo::mongodb::bson::spec::BinarySubtype;
use silo_mongo::mongodb::bson::{
    self, Binary, Bson, DateTime, Document, JavaScriptCodeWithScope, Regex, Timestamp, doc,
};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const COLLECTIONS: [&str; 3] = ["moods", "paintings", "users"];
/// Number of different `_id`s of a collection.
const IDS: i32 = 60;

pub(crate) struct Random(SmallRng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.random_range(0..limit)
    }

    fn name(&mut self) -> &'static str {
        NAMES.choose(&mut self.0).unwrap()
    }

    pub(crate) fn collection(&mut self) -> &'static str {
        COLLECTIONS.choose(&mut self.0).unwrap()
    }

    /// `_id`s of several types; 1 as a double is the same `_id` as 1 as an integer.
    fn id(&mut self) -> Bson {
        let number = self.0.random_range(0..IDS);
        match number % 5 {
            0 => Bson::Int32(number),
            1 => Bson::Int64(number.into()),
            2 => Bson::String(format!("id{number}")),
            3 => Bson::Document(doc! { "x": number, "y": [number] }),
            _ => Bson::Double(number.into()),
        }
    }

    /// A value of any type that a server stores.
    fn value(&mut self, depth: usize) -> Bson {
        let number = self.0.random_range(-3..30_i32);
        let kind = if depth > 3 {
            2 + self.below(16)
        } else {
            self.below(20)
        };
        match kind {
            0 | 18 => Bson::Document(self.document(depth + 1)),
            1 | 19 => Bson::Array((0..self.below(5)).map(|_| self.value(depth + 1)).collect()),
            2 => Bson::Double(f64::from(number) / 4.0),
            3 => Bson::String("ü".repeat(self.below(40))),
            4 => Bson::Binary(Binary {
                subtype: BinarySubtype::Generic,
                bytes: vec![7; self.below(9)],
            }),
            5 => Bson::ObjectId(ObjectId::from_bytes(
                [u8::try_from(self.below(250)).unwrap(); 12],
            )),
            6 => Bson::Boolean(number > 9),
            7 => Bson::DateTime(DateTime::from_millis(number.into())),
            8 => Bson::Null,
            9 => Bson::RegularExpression(Regex {
                pattern: bson::cstr!("^a").into(),
                options: bson::cstr!("i").into(),
            }),
            10 => Bson::JavaScriptCode("f()".into()),
            11 => Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
                code: "f()".into(),
                scope: doc! { "x": number },
            }),
            12 => Bson::Symbol("s".into()),
            13 => Bson::Timestamp(Timestamp {
                time: 7,
                increment: 1,
            }),
            14 => Bson::Int64(i64::from(number) << 33),
            15 => Bson::Decimal128("1.50".parse().unwrap()),
            16 => [Bson::MinKey, Bson::MaxKey, Bson::Undefined][self.below(3)].clone(),
            _ => Bson::Int32(number),
        }
    }

    fn document(&mut self, depth: usize) -> Document {
        (0..self.below(5))
            .map(|_| (self.name().to_owned(), self.value(depth)))
            .collect()
    }

    pub(crate) fn whole(&mut self) -> Document {
        let mut whole = doc! { "_id": self.id() };
        whole.extend(self.document(0));
        whole
    }

    /// A path such as `a`, `b.c` or `d.1.e`.
    fn path(&mut self) -> String {
        let mut path = self.name().to_owned();
        for _ in 0..self.below(3) {
            path.push('.');
            match self.below(3) {
                0 => path.push_str(&self.below(5).to_string()),
                _ => path.push_str(self.name()),
            }
        }
        path
    }

    fn change(&mut self) -> Bson {
        let path = self.path();
        let change = match self.below(18) {
            0..=3 => doc! { "$set": { path: self.value(1), self.path(): self.value(1) } },
            4 => doc! { "$unset": { path: "" } },
            5 => doc! { "$inc": { path: 1 } },
            6 => doc! { "$rename": { path: self.path() } },
            7 => doc! { "$push": { path: self.value(1) } },
            8 => {
                let values: Vec<Bson> = (0..3).map(|_| self.value(2)).collect();
                let at = i32::try_from(self.below(3)).unwrap();
                doc! { "$push": { path: { "$each": values, "$position": at, "$slice": 4 } } }
            }
            9 => doc! { "$pull": { path: self.value(3) } },
            10 => doc! { "$pop": { path: 1 } },
            11 => doc! { "$addToSet": { path: self.value(3) } },
            12 => doc! { "$mul": { path: 2.5 } },
            13 => doc! { "$bit": { path: { "xor": 5 } } },
            14 => doc! { "$currentDate": { path: true } },
            15 => doc! { "$setOnInsert": { path: 1 }, "$min": { self.path(): 2 } },
            16 => {
                let set =
                    doc! { path: { "$ifNull": [format!("${}", self.name()), self.value(3)] } };
                return Bson::Array(vec![
                    doc! { "$set": set }.into(),
                    doc! { "$unset": self.path() }.into(),
                ]);
            }
            // The fields get another order.
            _ => {
                let order = doc! { "$replaceWith": { "_id": "$_id", "f": "$f", "e": "$a", "b": "$b", "a": "$e", "n": { "b": "$c", "a": "$d" } } };
                return Bson::Array(vec![order.into()]);
            }
        };
        change.into()
    }

    /// A command that changes documents. It may fail.
    pub(crate) fn command(&mut self) -> Document {
        let collection = self.collection();
        let upsert = self.below(3) == 0;
        let multi = self.below(12) == 0;
        let by_id = doc! { "_id": self.id() };
        let filter = if multi {
            doc! { self.name(): { "$exists": true } }
        } else {
            by_id
        };
        match self.below(20) {
            0..=4 => {
                let documents: Vec<Document> = (0..=self.below(4)).map(|_| self.whole()).collect();
                doc! { "insert": collection, "documents": documents, "ordered": false }
            }
            5..=13 => {
                let update = doc! { "q": filter, "u": self.change(), "multi": multi, "upsert": upsert && !multi };
                doc! { "update": collection, "updates": [update], "ordered": false }
            }
            14 => {
                let mut whole = self.whole();
                whole.remove("_id");
                doc! { "update": collection, "updates": [{ "q": { "_id": self.id() }, "u": whole, "upsert": upsert }] }
            }
            15 => {
                doc! { "findAndModify": collection, "query": filter, "update": self.change(), "upsert": upsert }
            }
            16 => doc! { "findAndModify": collection, "query": filter, "remove": true },
            17 => {
                doc! { "delete": collection, "deletes": [{ "q": { self.name(): self.value(4) }, "limit": 0 }] }
            }
            _ => {
                doc! { "delete": collection, "deletes": [{ "q": filter, "limit": i32::from(!multi) }] }
            }
        }
    }
}
