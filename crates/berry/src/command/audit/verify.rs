//! `berry audit verify`: whether every record is there, unchanged and in its place.

use std::path::Path;
use std::time::Duration;

use berry_store::audit::{Demands, Fault, Report, verify};
use clap::Args;
use serde_json::{Value, json};

use super::unreadable;
use crate::command::{DataPath, Format};
use crate::outcome::{Failure, Outcome, Status};
use crate::terminal;

/// A gateway that runs may be between a record and the head that names it: what does not hold is looked at again.
const TRIES: u32 = 4;

const BETWEEN: Duration = Duration::from_millis(300);

/// Checks that every record is there, unchanged and in its place
///
/// Ends with 1, and says where, if one is not. Works from the files alone, also while the gateway runs.
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    place: DataPath,
    /// The first record that is to be there: those before it are archived elsewhere, or known not to hold
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// A record that you have noted elsewhere, as the `head` of an earlier run shows it
    #[arg(long, value_name = "SEQ:HASH", value_parser = noted)]
    noted: Option<(u64, String)>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Verify {
    pub(super) fn run(self) -> Outcome {
        let data = self.place.find().data;
        let report = judge(&data, &Demands { from: self.from, noted: self.noted })?;
        match self.format {
            Format::Human => print_for_people(&report),
            Format::Json => terminal::out(&format!("{:#}\n", for_programs(&report))),
        }
        Ok(if report.holds() { Status::Done } else { Status::Failed })
    }
}

fn noted(text: &str) -> Result<(u64, String), String> {
    let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.to_owned())));
    parts.filter(|(_, hash)| hash.len() == 64).ok_or_else(|| "write the number, a colon and the 64 digits".to_owned())
}

fn judge(data: &Path, demands: &Demands) -> Result<Report, Failure> {
    let mut report = verify(data, demands).map_err(|error| unreadable(data, &error))?;
    for _ in 1..TRIES {
        // What is wrong for good is so with the same words.
        if report.holds() {
            break;
        }
        std::thread::sleep(BETWEEN);
        let again = verify(data, demands).map_err(|error| unreadable(data, &error))?;
        let is_settled = again.faults == report.faults && again.records == report.records;
        report = again;
        if is_settled {
            break;
        }
    }
    Ok(report)
}

fn print_for_people(report: &Report) {
    let count = |n: u64, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let faults: String =
        report.faults.iter().map(|fault| format!("{}: {fault}\n", terminal::err_bold("31", "error"))).collect();
    let more = match report.more_faults {
        0 => String::new(),
        more => format!("and {}\n", count(more, "more fault")),
    };
    let help = if report.holds() { "" } else { HELP };
    terminal::err(&format!("{faults}{more}{help}"));
    let verdict = if report.holds() { "holds" } else { "does not hold" };
    let head = report.head.as_ref().map_or(String::new(), |(seq, hash)| format!("\n  head  {seq}:{hash}"));
    let key = report.key.as_ref().map_or(String::new(), |key| format!("\n  key   {key}"));
    terminal::out(&format!(
        "{} {verdict}: {} in {}, {}{head}{key}\n",
        report.folder.display(),
        count(report.records, "record"),
        count(report.files as u64, "file"),
        count(report.checkpoints, "signed checkpoint"),
    ));
}

const HELP: &str = "help: compare with a backup; once you know why, `--from SEQ` verifies what comes after\n";

fn for_programs(report: &Report) -> Value {
    let fault = |Fault { file, line, what }: &Fault| json!({"file": file, "line": line, "message": what});
    json!({
        "holds": report.holds(),
        "folder": report.folder.display().to_string(),
        "records": report.records,
        "files": report.files,
        "checkpoints": report.checkpoints,
        "head": report.head.as_ref().map(|(seq, hash)| json!({"seq": seq, "hash": hash})),
        "key": report.key,
        "faults": report.faults.iter().map(fault).collect::<Vec<_>>(),
        "more_faults": report.more_faults,
    })
}
