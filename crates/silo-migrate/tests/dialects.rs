//! Every BSON type in every dialect of JSON, and files that are refused with their place.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use bson::{Bson, Document, RawDocumentBuf, doc};
use silo_migrate::json::convert::Converter;
use silo_migrate::json::dialect::Dialect;
use silo_migrate::json::documents::Documents;
use silo_migrate::json::types::{FieldTypes, Types};

/// Converts the documents of a file. Returns its detected dialect, and the documents or the error.
fn read(
    text: &[u8],
    types: &str,
) -> (Result<Dialect, String>, Result<Vec<RawDocumentBuf>, String>) {
    let types = Types::parse(types).unwrap().of("things");
    let pass = |dialect| {
        let mut converter = Converter::new(dialect, &types);
        let mut documents = Documents::new(text);
        let mut found = Vec::new();
        loop {
            match documents.next_document() {
                Ok(None) => return (converter, Ok(found)),
                Ok(Some(text)) => match converter.convert(&text) {
                    Ok(document) => found.push(document),
                    Err(error) => return (converter, Err(error.to_string())),
                },
                Err(error) => return (converter, Err(error.to_string())),
            }
        }
    };
    let (first, checked) = pass(None);
    let dialect = first.markers.dialect();
    match (&dialect, checked) {
        (Ok(dialect), Ok(_)) => {
            let documents = pass(Some(*dialect)).1;
            (Ok(*dialect), documents)
        }
        (_, checked) => (dialect, checked),
    }
}

fn one(text: &str) -> Document {
    let (_, documents) = read(text.as_bytes(), "");
    Document::try_from(documents.unwrap().remove(0)).unwrap()
}

/// Canonical Extended JSON of a document with all 21 types and their edges.
const CANONICAL: &str = include_str!("every_type.json");

#[test]
fn canonical_json_comes_back_byte_for_byte() {
    let (dialect, documents) = read(CANONICAL.as_bytes(), "");
    assert_eq!(dialect, Ok(Dialect::Canonical));
    let document = documents.unwrap().remove(0);
    let types: std::collections::BTreeSet<String> = document
        .iter()
        .map(|element| format!("{:?}", element.unwrap().1.element_type()))
        .collect();
    assert_eq!(types.len(), 21, "{types:?}");
    let decoded = Document::try_from(document.clone()).unwrap();
    let again = Bson::Document(decoded).into_canonical_extjson().to_string();
    let (_, documents) = read(again.as_bytes(), "");
    assert_eq!(documents.unwrap().remove(0).as_bytes(), document.as_bytes());
    // Against another reader.
    let json: serde_json::Value = serde_json::from_str(CANONICAL).unwrap();
    let other =
        RawDocumentBuf::try_from(Bson::try_from(json).unwrap().as_document().unwrap()).unwrap();
    assert_eq!(other.as_bytes().len(), document.as_bytes().len());
}

#[test]
fn relaxed_json_keeps_all_but_the_types_of_numbers() {
    let document = doc! { "_id": 1, "long": 5_i64, "big": 1_i64 << 40, "double": 5.0, "half": 0.5, "at": bson::DateTime::from_millis(1), "oid": bson::oid::ObjectId::from_bytes([1; 12]) };
    let text = Bson::Document(document).into_relaxed_extjson().to_string();
    let (dialect, documents) = read(text.as_bytes(), "");
    assert_eq!(dialect, Ok(Dialect::Relaxed));
    let read_back = Document::try_from(documents.unwrap().remove(0)).unwrap();
    assert_eq!(
        read_back,
        doc! { "_id": 1, "long": 5, "big": 1_i64 << 40, "double": 5.0, "half": 0.5, "at": bson::DateTime::from_millis(1), "oid": bson::oid::ObjectId::from_bytes([1; 12]) }
    );
    let types = FieldTypes::default();
    let mut converter = Converter::new(None, &types);
    let text = silo_migrate::json::documents::DocumentText {
        bytes: text.as_bytes(),
        line: 1,
        column: 1,
    };
    converter.convert(&text).unwrap();
    let lossy = converter.fields.lossy(Dialect::Relaxed);
    let fields: Vec<&str> = lossy
        .iter()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(fields, ["_id", "big", "long"]);
}

#[test]
fn legacy_json_has_its_own_wrappers() {
    let text = r#"{"_id":{"$oid":"65f0c0ffee65f0c0ffee65f0"},"binary":{"$binary":"AQID","$type":"00"},"date":{"$date":1700000000123},"iso":{"$date":"2015-04-14T14:55:57+02:00"},
"long":{"$numberLong":"5"},"bare":{"$numberLong":7},"regex":{"$regex":"^a","$options":"i"},"query":{"a":{"$regex":"b"}},"int":5,"undefined":{"$undefined":true}}"#;
    let (dialect, documents) = read(text.as_bytes(), "");
    assert_eq!(dialect, Ok(Dialect::Legacy));
    let document = Document::try_from(documents.unwrap().remove(0)).unwrap();
    assert_eq!(
        document.get_i64("long").unwrap() + document.get_i64("bare").unwrap(),
        12
    );
    assert_eq!(
        document.get_datetime("iso").unwrap().timestamp_millis(),
        1_429_016_157_000
    );
    assert!(matches!(
        document.get("regex"),
        Some(Bson::RegularExpression(_))
    ));
    assert_eq!(
        document.get_document("query").unwrap(),
        &doc! { "a": { "$regex": "b" } }
    );
    assert!(matches!(document.get("binary"), Some(Bson::Binary(_))));
    // In version 2 it is a stored query.
    let query = r#"{"_id":{"$oid":"65f0c0ffee65f0c0ffee65f0"},"r":{"$regularExpression":{"pattern":"a","options":""}},"q":{"$regex":"^a"}}"#;
    assert_eq!(
        one(query).get_document("q").unwrap(),
        &doc! { "$regex": "^a" }
    );
    let mixed = r#"{"a":{"$regularExpression":{"pattern":"a","options":""}}}
{"b":{"$date":5}}"#;
    let error = read(mixed.as_bytes(), "").0.unwrap_err();
    assert!(error.starts_with("line 2 has a type of legacy"), "{error}");
}

#[test]
fn plain_json_needs_types() {
    // Written by JSON.stringify of documents of the Node driver (js-bson 6).
    let text = br#"[{"_id":"65f0c0ffee65f0c0ffee65f0","when":"2026-02-10T12:00:00.123Z","long":{"low":1,"high":2097152,"unsigned":false},"hits":1700000000000,"n":5,"half":0.5,"nan":null,"decimal":{"$numberDecimal":"1.10"},"ts":{"$timestamp":"7398762345678901249"},"raw":"AQID","uuid":"00112233-4455-6677-8899-aabbccddeeff","re":{},"code":{"code":"f()"}}]"#;
    let types = FieldTypes::default();
    let mut converter = Converter::new(None, &types);
    let mut documents = Documents::new(&text[..]);
    converter
        .convert(&documents.next_document().unwrap().unwrap())
        .unwrap();
    assert_eq!(converter.markers.dialect(), Ok(Dialect::Plain));
    let ambiguous = converter.fields.ambiguous(Dialect::Plain).join("\n");
    assert_eq!(
        ambiguous,
        "_id: 1 texts of 24 hexadecimal digits: objectid or string?\nlong: 1 documents with low, high and unsigned: long or document?\nwhen: 1 texts with a date: date or string?"
    );
    let lossy = converter.fields.lossy(Dialect::Plain).join("\n");
    assert!(
        lossy.contains("re: 1 empty documents") && lossy.contains("nan: 1 nulls"),
        "{lossy}"
    );
    let types = "[things]\n_id = \"objectid\"\nwhen = \"date\"\nlong = \"long\"\nhits = \"long\"\nraw = \"binary\"\nuuid = \"uuid\"\nhalf = \"double\"\n";
    let (dialect, documents) = read(text, types);
    assert_eq!(dialect, Ok(Dialect::Plain));
    let document = Document::try_from(documents.unwrap().remove(0)).unwrap();
    assert_eq!(document.get_i64("long").unwrap(), 9_007_199_254_740_993);
    assert_eq!(document.get_i64("hits").unwrap(), 1_700_000_000_000);
    assert_eq!(
        document.get_object_id("_id").unwrap().to_hex(),
        "65f0c0ffee65f0c0ffee65f0"
    );
    assert_eq!(
        document.get_datetime("when").unwrap().timestamp_millis(),
        1_770_724_800_123
    );
    assert!(matches!(document.get("decimal"), Some(Bson::Decimal128(_))));
    assert!(matches!(document.get("ts"), Some(Bson::Timestamp(_))));
    assert!(matches!(document.get("uuid"), Some(Bson::Binary(binary)) if binary.bytes.len() == 16));
    // Without a type, a number is what the driver would store.
    let untyped = read(br#"{"_id":1,"hits":1700000000000,"low":{"low":1}}"#, "")
        .1
        .unwrap()
        .remove(0);
    assert_eq!(untyped.get_f64("hits").unwrap(), 1_700_000_000_000.0);
    let wrong = read(text, "[things]\nwhen = \"objectid\"\n").1.unwrap_err();
    assert!(
        wrong.starts_with("line 1, column ")
            && wrong.ends_with("when: the value is not of type objectid"),
        "{wrong}"
    );
}

/// Types are for what a dialect has lost.
#[test]
fn declared_types_leave_what_a_dialect_keeps() {
    let types = "[things]\n_id = [\"objectid\", \"string\"]\nwhen = [\"date\", \"string\"]\nhits = \"long\"\n";
    let canonical = br#"{"_id":"65f0c0ffee65f0c0ffee65f0","when":"2026-02-10T12:00:00.000Z","hits":{"$numberInt":"5"}}"#;
    let (dialect, documents) = read(canonical, types);
    assert_eq!(dialect, Ok(Dialect::Canonical));
    let document = Document::try_from(documents.unwrap().remove(0)).unwrap();
    assert_eq!(
        document,
        doc! { "_id": "65f0c0ffee65f0c0ffee65f0", "when": "2026-02-10T12:00:00.000Z", "hits": 5 }
    );
    let relaxed = br#"{"_id":{"$oid":"65f0c0ffee65f0c0ffee65f0"},"when":"2026-02-10T12:00:00.000Z","hits":5}"#;
    let (dialect, documents) = read(relaxed, types);
    assert_eq!(dialect, Ok(Dialect::Relaxed));
    let document = Document::try_from(documents.unwrap().remove(0)).unwrap();
    assert_eq!(
        (
            document.get_str("when").unwrap(),
            document.get_i64("hits").unwrap()
        ),
        ("2026-02-10T12:00:00.000Z", 5)
    );
    // JSON.stringify writes neither capitals in ids nor other spellings of dates.
    let plain = br#"{"_id":"65F0C0FFEE65F0C0FFEE65F0","when":"2026-02-10T12:00:00Z","hits":5}"#;
    let document = Document::try_from(read(plain, types).1.unwrap().remove(0)).unwrap();
    assert_eq!(
        (
            document.get_str("_id").unwrap(),
            document.get_str("when").unwrap()
        ),
        ("65F0C0FFEE65F0C0FFEE65F0", "2026-02-10T12:00:00Z")
    );
    let query = br#"{"_id":{"$numberInt":"1"},"q":{"$regex":"^a","$options":"i"}}"#;
    let document = Document::try_from(read(query, types).1.unwrap().remove(0)).unwrap();
    assert_eq!(
        document.get_document("q").unwrap(),
        &doc! { "$regex": "^a", "$options": "i" }
    );
}

/// B14: dates at the edges, and odd spellings.
#[test]
fn dates_are_exact_or_refused() {
    for millis in [
        "253402300799999",
        "253402300800000",
        "253402318799999",
        "8640000000000000",
        "-1",
        "-62135596800001",
        "9223372036854775807",
    ] {
        let document = one(&format!(
            r#"{{"_id":1,"d":{{"$date":{{"$numberLong":"{millis}"}}}}}}"#
        ));
        assert_eq!(
            document
                .get_datetime("d")
                .unwrap()
                .timestamp_millis()
                .to_string(),
            millis
        );
    }
    for (spelling, millis) in [
        (r#"{"$numberLong":1479524146179}"#, Some(1_479_524_146_179)),
        ("1", Some(1)),
        (r#""+010000-01-01T00:00:00Z""#, Some(253_402_300_800_000)),
        (r#""2015-04-14T14:55:57+02:00""#, Some(1_429_016_157_000)),
        (r#""1""#, None),
        (r#""2015-04-14""#, None),
        (r#""hello""#, None),
        ("1.5", None),
        ("null", None),
        (r#"{"$numberLong":"x"}"#, None),
    ] {
        let text = format!("{{\"_id\":0}}\n{{\"_id\":1,\"d\":{{\"$date\":{spelling}}}}}");
        let (_, documents) = read(text.as_bytes(), "");
        match millis {
            Some(millis) => {
                let document = Document::try_from(documents.unwrap().remove(1)).unwrap();
                assert_eq!(
                    document.get_datetime("d").unwrap().timestamp_millis(),
                    millis,
                    "{spelling}"
                );
            }
            None => {
                let error = documents.unwrap_err();
                assert!(error.starts_with("line 2, column "), "{spelling}: {error}");
            }
        }
    }
}

/// B01 and B13, and everything else that must not be imported halfway.
#[test]
fn damaged_documents_are_refused_with_their_place() {
    let deep = |levels: usize| {
        format!(
            "{{\"_id\":1,\"a\":{}1{}}}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let good =
        r#"{"_id":{"$numberInt":"3"},"":null,"a.b":{"$numberInt":"1"},"$x":{"$numberInt":"2"}}"#;
    assert_eq!(one(good), doc! { "_id": 3, "": null, "a.b": 1, "$x": 2 });
    assert_eq!(
        one(r#"{"_id":1,"s":"xNaNy Infinity null"}"#)
            .get_str("s")
            .unwrap(),
        "xNaNy Infinity null"
    );
    assert!(read(deep(99).as_bytes(), "").1.is_ok(), "100 levels");
    for (text, problem) in [
        (
            &b"{\"_id\":1,\"a\":1,\"a\":2}"[..],
            "the field \"a\" occurs twice",
        ),
        (
            b"{\"_id\":1,\"x\":{\"$numberLong\":\"1\",\"$numberLong\":\"2\"}}",
            "the field \"$numberLong\" occurs twice",
        ),
        (b"{\"_id\":1,\"s\":\"\xe9\"}", "invalid unicode code point"),
        (b"{\"_id\":1,\"n\xe9\":1}", "invalid unicode code point"),
        (b"{\"_id\":1,\"s\":\"\\ud800\"}", "hex escape"),
        (b"{\"_id\":1,\"d\":NaN}", "expected value"),
        (b"{\"_id\":1,\"s\":\"x\"NaN\"y\"}", "expected `,` or `}`"),
        (b"{\"_id\":1,\"a\":01}", "invalid number"),
        (b"{\"_id\":1,\"a\":1e400}", "number out of range"),
        (b"{\"_id\":1,\"a\":1,}", "trailing comma"),
        (b"{\"_id\":1,\"a\\u0000b\":1}", "null character"),
        (
            b"{\"_id\":{\"$oid\":\"zz\"}}",
            "$oid must have 24 hexadecimal digits",
        ),
        (
            b"{\"_id\":{\"$oid\":\"65f0c0ffee65f0c0ffee65f0\",\"more\":1}}",
            "$oid must have",
        ),
        (
            b"{\"$oid\":\"65f0c0ffee65f0c0ffee65f0\"}",
            "a document is expected",
        ),
        (b"{\"a\":{\"$numberInt\":5}}", "$numberInt must have"),
        (
            b"{\"a\":{\"$numberDouble\":\"inf\"}}",
            "$numberDouble must have",
        ),
        (
            b"{\"a\":{\"$numberDecimal\":\"1.00000000000000000000000000000000001\"}}",
            "$numberDecimal must have",
        ),
        (
            b"{\"a\":{\"$binary\":{\"base64\":\"?\",\"subType\":\"00\"}}}",
            "$binary must have",
        ),
        (
            b"{\"a\":{\"$uuid\":\"00112233445566778899aabbccddeeff\"}}",
            "$uuid must have",
        ),
        (
            b"{\"a\":{\"$timestamp\":{\"t\":-1,\"i\":1}}}",
            "$timestamp must have",
        ),
        (deep(200).as_bytes(), "more than 120 levels"),
    ] {
        let in_third_line = [b"{\"_id\":7}\r\n\r\n", text].concat();
        let error = read(&in_third_line, "").1.unwrap_err();
        assert!(
            error.starts_with("line 3, column ") && error.contains(problem),
            "{error} ({problem})"
        );
    }
}
