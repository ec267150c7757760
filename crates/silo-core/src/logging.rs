//! Logs on standard error: text for people, JSON lines for machines.

use std::io::Write;

use env_logger::fmt::Formatter;
use log::Record;
use log::kv::{Key, Value, VisitSource};
use serde_json::Map;

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-01-31T12:00:00.000Z INFO target message key=value`
    Text,
    /// One JSON object a line: `time`, `level`, `target`, `message` and the keys beside them.
    Json,
}

/// Starts logging for this process. `filter` is in the syntax of `RUST_LOG`, without its `/regex`: that alone would bring an engine for regular expressions into every process.
///
/// A second call changes nothing, so tests may call it freely.
pub fn start(format: LogFormat, filter: &str) {
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(filter).format_timestamp_millis();
    if format == LogFormat::Json {
        builder.format(write_json);
    }
    let already_started = builder.try_init().is_err();
    if already_started {
        log::debug!("logging was started before");
    }
}

fn write_json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let mut fields = Fields(Map::new());
    // A key-value source fails only when one of its values does; the line is written with what there is.
    let complete = record.key_values().visit(&mut fields).is_ok();
    let mut line = fields.0;
    if !complete {
        line.insert("incomplete".into(), true.into());
    }
    line.insert(
        "time".into(),
        format!("{:.3}", jiff::Timestamp::now()).into(),
    );
    line.insert("level".into(), record.level().as_str().into());
    line.insert("target".into(), record.target().into());
    line.insert("message".into(), record.args().to_string().into());
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let json = if let Some(number) = value.to_u64() {
            number.into()
        } else if let Some(number) = value.to_i64() {
            number.into()
        } else if let Some(number) = value.to_f64() {
            number.into()
        } else if let Some(flag) = value.to_bool() {
            flag.into()
        } else {
            value.to_string().into()
        };
        self.0.insert(key.to_string(), json);
        Ok(())
    }
}
