//! Filters of documents from outside: Extended JSON with a few operators, none of which runs code or tells of a field that is never shown.

use silo_mongo::mongodb::bson::{Bson, Document};

use super::redaction::Redaction;

/// Operators on a field whose operand is one value.
const COMPARISONS: [&str; 6] = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"];
/// Operators on a field whose operand is a list of values.
const LISTS: [&str; 2] = ["$in", "$nin"];
/// Names of types that `$type` takes.
const TYPES: [&str; 15] = [
    "array",
    "binData",
    "bool",
    "date",
    "decimal",
    "double",
    "int",
    "javascript",
    "long",
    "null",
    "number",
    "object",
    "objectId",
    "string",
    "timestamp",
];
/// Operators that combine filters.
const COMBINATIONS: [&str; 3] = ["$and", "$or", "$nor"];
/// Deepest nesting of combinations.
const DEPTH: usize = 4;
/// Most values and conditions.
const PARTS: usize = 200;

/// A filter that may be sent to mongod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Document);

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// Why it is refused, as a sentence.
    pub fn parse(text: &str, redaction: &Redaction) -> Result<Self, String> {
        let json: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| format!("the filter is not JSON: {error}"))?;
        let bson = Bson::try_from(json)
            .map_err(|_unprintable| "the filter is not Extended JSON".to_owned())?;
        let Bson::Document(filter) = bson else {
            return Err("the filter is not a JSON object".into());
        };
        let mut parts = 0;
        check(&filter, redaction, DEPTH, &mut parts)?;
        Ok(Self(filter))
    }

    /// `true` if it matches every document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn document(&self) -> &Document {
        &self.0
    }
}

fn check(
    filter: &Document,
    redaction: &Redaction,
    depth: usize,
    parts: &mut usize,
) -> Result<(), String> {
    for (name, value) in filter {
        count(parts)?;
        if COMBINATIONS.contains(&name.as_str()) {
            let filters = value
                .as_array()
                .filter(|filters| !filters.is_empty())
                .ok_or_else(|| format!("{name} takes a list of filters"))?;
            if depth == 0 {
                return Err(format!("filters are combined at most {DEPTH} deep"));
            }
            for each in filters {
                let inner = each
                    .as_document()
                    .ok_or_else(|| format!("{name} takes a list of filters"))?;
                check(inner, redaction, depth - 1, parts)?;
            }
            continue;
        }
        if name.starts_with('$') {
            return Err(format!("the operator {name} is not allowed here"));
        }
        if redaction.concerns(name) {
            return Err(format!(
                "the field {name} is not shown, so it cannot be searched"
            ));
        }
        condition(name, value, parts)?;
    }
    Ok(())
}

/// Checks the condition on one field: a value, or operators.
fn condition(name: &str, value: &Bson, parts: &mut usize) -> Result<(), String> {
    let Bson::Document(operators) = value else {
        return scalar(name, value);
    };
    for (operator, operand) in operators {
        count(parts)?;
        match (operator.as_str(), operand) {
            (each, _) if COMPARISONS.contains(&each) => scalar(name, operand)?,
            (each, Bson::Array(values)) if LISTS.contains(&each) => {
                for value in values {
                    count(parts)?;
                    scalar(name, value)?;
                }
            }
            ("$exists", Bson::Boolean(_)) => {}
            ("$type", Bson::String(type_name)) if TYPES.contains(&type_name.as_str()) => {}
            (each, _) if each.starts_with('$') => {
                return Err(format!(
                    "the operator {each} is not allowed here, or takes another value; allowed are {}, $exists and $type on fields, and {}",
                    [&COMPARISONS[..], &LISTS[..]].concat().join(", "),
                    COMBINATIONS.join(", ")
                ));
            }
            _ => return scalar(name, value),
        }
    }
    Ok(())
}

/// A value that is compared: neither a regular expression nor code, and no document, which could be compared with one that holds a secret.
fn scalar(name: &str, value: &Bson) -> Result<(), String> {
    match value {
        Bson::Double(_)
        | Bson::String(_)
        | Bson::ObjectId(_)
        | Bson::Boolean(_)
        | Bson::DateTime(_)
        | Bson::Null
        | Bson::Int32(_)
        | Bson::Int64(_)
        | Bson::Timestamp(_)
        | Bson::Decimal128(_)
        | Bson::Binary(_) => Ok(()),
        _ => Err(format!(
            "the field {name} is compared with something that is no plain value; a field within a document is written as \"outer.inner\""
        )),
    }
}

fn count(parts: &mut usize) -> Result<(), String> {
    *parts += 1;
    if *parts > PARTS {
        return Err(format!("a filter has at most {PARTS} parts"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use silo_mongo::mongodb::bson::{doc, oid::ObjectId};

    use super::*;

    fn parse(text: &str) -> Result<Filter, String> {
        Filter::parse(text, &Redaction::new(&["atproto.password".into()]))
    }

    #[test]
    fn plain_conditions_are_read_as_extended_json() {
        let filter = parse(
            r#"{"_id": {"$gt": {"$oid": "65f000000000000000000000"}}, "$or": [{"user": "auth0|a"}, {"hits": {"$in": [1, null]}}], "nuked": {"$exists": false}}"#,
        );
        let id = ObjectId::parse_str("65f000000000000000000000").unwrap();
        let wanted = doc! { "_id": { "$gt": id }, "$or": [{ "user": "auth0|a" }, { "hits": { "$in": [1, null] } }], "nuked": { "$exists": false } };
        assert_eq!(filter.unwrap().document(), &wanted);
        assert!(parse("{}").unwrap().is_empty());
    }

    #[test]
    fn code_expressions_and_unshown_fields_are_refused() {
        for (text, why) in [
            ("", "not JSON"),
            ("[]", "not a JSON object"),
            (r#"{"a": {"$oid": "x"}}"#, "Extended JSON"),
            (r#"{"$where": "sleep(1000)"}"#, "$where"),
            (r#"{"$expr": {"$gt": ["$a", 1]}}"#, "$expr"),
            (r#"{"$text": {"$search": "a"}}"#, "$text"),
            (r#"{"$comment": "a"}"#, "$comment"),
            (r#"{"a": {"$regex": "^a"}}"#, "$regex"),
            (
                r#"{"a": {"$regularExpression": {"pattern": "a", "options": ""}}}"#,
                "no plain value",
            ),
            (
                r#"{"a": {"$in": [{"$regularExpression": {"pattern": "a", "options": ""}}]}}"#,
                "no plain value",
            ),
            (r#"{"a": {"$code": "1"}}"#, "no plain value"),
            (r#"{"a": {"$not": {"$gt": 1}}}"#, "$not"),
            (r#"{"a": {"b": 1}}"#, "no plain value"),
            (r#"{"a": {"$gt": {"b": 1}}}"#, "no plain value"),
            (r#"{"a": [1]}"#, "no plain value"),
            (r#"{"a": {"$gt": 1, "b": 1}}"#, "no plain value"),
            (r#"{"atproto.password": {"$gt": "a"}}"#, "is not shown"),
            (r#"{"atproto": null}"#, "is not shown"),
            (r#"{"x.accessToken": {"$gt": "a"}}"#, "is not shown"),
            (r#"{"$or": [{"$and": [{"email": "a"}]}]}"#, "is not shown"),
            (r#"{"$or": {"a": 1}}"#, "a list of filters"),
            (r#"{"$or": []}"#, "a list of filters"),
            (r#"{"a": {"$type": "nonsense"}}"#, "$type"),
            (
                r#"{"$or": [{"$or": [{"$or": [{"$or": [{"$or": [{"a": 1}]}]}]}]}]}"#,
                "deep",
            ),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let many = format!(r#"{{"a": {{"$in": [{}1]}}}}"#, "1, ".repeat(200));
        assert!(parse(&many).unwrap_err().contains("at most 200"));
    }
}
