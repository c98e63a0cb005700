//! `berry config history`: what ran, and when.

use berry_config::{load_file, text_hash};
use berry_store::Kept;
use clap::Args;
use serde_json::{Value, json};

use super::{archive, no_history, refuse};
use crate::command::{DataPath, Format, Place};
use crate::outcome::{Outcome, Status};
use crate::reload::listed;
use crate::terminal;

/// Digits of a hash that tell it from others.
const SHORT_HASH: usize = 12;

/// Lists the generations that ran, the latest first
#[derive(Args)]
pub(super) struct History {
    #[command(flatten)]
    place: DataPath,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl History {
    pub(super) fn run(self) -> Outcome {
        let place = self.place.find();
        let all = archive(&place).all().map_err(refuse)?;
        if self.format == Format::Json {
            let data: Vec<Value> = all.iter().map(for_programs).collect();
            terminal::out(&format!("{:#}\n", json!({"data": data, "next": null})));
            return Ok(Status::Done);
        }
        let Some(latest) = all.first() else {
            return Err(no_history(&place.data));
        };
        print_for_people(&all);
        terminal::out(&format!("\n{}\n", now(&place, latest, &all)));
        Ok(Status::Done)
    }
}

fn for_programs(kept: &Kept) -> Value {
    let mut listed = listed(kept);
    listed["diff"] = json!(kept.diff);
    listed
}

fn print_for_people(all: &[Kept]) {
    let rows: Vec<[String; 6]> = all.iter().map(row).collect();
    let titles = ["GENERATION", "TIME", "ORIGIN", "AUTHOR", "LINES", "HASH"].map(str::to_owned);
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let width = |row: &[String; 6]| row.get(column).map_or(0, |cell| cell.chars().count());
        rows.iter().chain([&titles]).map(width).max().unwrap_or_default()
    });
    let line = |row: &[String; 6]| {
        let [generation, time, origin, author, lines, hash] = row;
        let [a, b, c, d, e, _] = widths;
        format!("{generation:>a$}  {time:<b$}  {origin:<c$}  {author:<d$}  {lines:<e$}  {hash}")
    };
    terminal::out(&(terminal::out_bold("39", &line(&titles)) + "\n"));
    rows.iter().zip(all).for_each(|(row, kept)| terminal::out(&(line(row) + &remark(kept) + "\n")));
}

fn row(kept: &Kept) -> [String; 6] {
    let lines = |mark: char| kept.diff.lines().filter(|line| line.starts_with(mark)).count();
    let changed = if kept.diff.is_empty() { "-".to_owned() } else { format!("+{} -{}", lines('+'), lines('-')) };
    [
        kept.generation.to_string(),
        seconds(&kept.time),
        kept.origin.clone(),
        kept.author.clone().unwrap_or_else(|| "-".to_owned()),
        changed,
        kept.hash.chars().take(SHORT_HASH).collect(),
    ]
}

/// A time without its parts of a second.
fn seconds(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

fn remark(kept: &Kept) -> String {
    let restores = kept.restores.map(|generation| format!("  back to {generation}"));
    let replaced =
        kept.has_replaced.then(|| format!("  what it replaced never ran: show {} --replaced", kept.generation));
    let started = kept.started.as_ref().map(|time| format!("  started again {}", seconds(time)));
    [restores, replaced, started].into_iter().flatten().collect()
}

/// How the file of today stands to it.
fn now(place: &Place, latest: &Kept, all: &[Kept]) -> String {
    let file = place.file.display();
    let loaded = load_file(&place.file);
    let hash = text_hash(loaded.text.expose());
    if loaded.text.is_empty() {
        format!(
            "{file} cannot be read or is empty; `berry config rollback {}` brings the latest back",
            latest.generation
        )
    } else if latest.hash == hash {
        format!("{file} is the latest of them")
    } else if let Some(same) = all.iter().find(|kept| kept.hash == hash) {
        format!("{file} has the text of generation {}", same.generation)
    } else {
        let holds = if loaded.config.is_some() { "holds" } else { "does not hold" };
        format!("{file} has changed since and {holds}; `berry config diff {}` shows how", latest.generation)
    }
}
