//! `berry audit tail`: the newest records, and those that come.

use std::time::Duration;

use berry_store::audit::{Filter, Follower, Record};
use clap::Args;
use serde_json::Value;

use super::unreadable;
use crate::command::{DataPath, Format};
use crate::outcome::{Outcome, Status};
use crate::terminal;

/// How often it looks for more.
const EVERY: Duration = Duration::from_millis(250);

/// Shows the newest records
#[derive(Args)]
pub(super) struct Tail {
    #[command(flatten)]
    place: DataPath,
    /// How many
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    number: usize,
    /// Also show those that come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// A line for people, or the record itself
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Tail {
    pub(super) fn run(self) -> Outcome {
        let data = self.place.find().data;
        let unreadable = |error: std::io::Error| unreadable(&data, &error);
        let (mut follower, mut records) = Follower::new(&data, self.number, &Filter::default()).map_err(unreadable)?;
        loop {
            let text: String = records.iter().map(|record| self.format.line(record)).collect();
            if !terminal::try_out(&text) || !self.follow {
                return Ok(Status::Done);
            }
            std::thread::sleep(EVERY);
            records = follower.more().map_err(unreadable)?;
        }
    }
}

impl Format {
    fn line(self, record: &Record) -> String {
        match self {
            Format::Json => format!("{}\n", record.line),
            Format::Human => for_people(&record.fields),
        }
    }
}

/// `TIME actor action resource result ip request_id`
fn for_people(record: &Value) -> String {
    let field = |name: &str| printable(record[name].as_str().filter(|text| !text.is_empty()).unwrap_or("-"));
    let (time, actor, action) = (field("time"), field("actor"), field("action"));
    let (resource, result, ip, id) = (field("resource"), field("result"), field("ip"), field("request_id"));
    format!("{time} {seq:>6} {actor:<16} {action:<16} {resource}: {result} ({ip}, {id})\n", seq = record["seq"])
}

/// What a client has sent must not be able to steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
