//! `berry config rollback`: back to a generation that ran. A running gateway is asked to do it, since it writes down who did;
//! where it cannot (it may not write the file, or cannot be asked from here), the file is written here, and the gateway follows
//! it as any other change.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use berry_config::{Loaded, load, load_file, render};
use berry_store::{DataDirectory, History, NewGeneration, OpenError, Replaced};
use berry_vocab::Secret;
use clap::Args;
use serde_json::{Value, json};

use super::admin_api::AdminApi;
use super::{archive, history_of, refuse};
use crate::command::{DataPath, Place};
use crate::outcome::{Failure, Outcome, Status};
use crate::{assemble, files, terminal};

/// Writes the text of a former generation into the configuration file, after checking that it still holds
///
/// A running gateway takes it at once; what it replaces stays in the history.
#[derive(Args)]
pub(super) struct Rollback {
    /// The number of the generation, see `berry config history`
    #[arg(value_name = "N")]
    generation: u64,
    /// Also where it looks like a mistake, or overwrites what is kept nowhere
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: DataPath,
}

impl Rollback {
    pub(super) fn run(self) -> Outcome {
        let Self { generation, force, place } = self;
        let order = Order { generation, force, place: place.find() };
        let text = history_of(&order.place)?.text(generation).map_err(refuse)?;
        match DataDirectory::open(&order.place.data) {
            Ok(data) => order.without_gateway(data, &text),
            Err(OpenError::InUse(_)) => order.with_gateway(&text),
            Err(error) => Err(Failure::new(error, "run this as the user that runs Berry, or as root")),
        }
    }
}

struct Order {
    generation: u64,
    force: bool,
    place: Place,
}

impl Order {
    /// No gateway works there: what comes is kept here, and runs from the next start on.
    fn without_gateway(&self, data: DataDirectory, text: &Secret) -> Outcome {
        let file = &self.place.file;
        let Some(loaded) = check(text, file) else { return Ok(Status::Failed) };
        let history = History::new(Arc::new(data));
        let archive = history.archive();
        let found = load_file(file).text;
        let last = archive.last().map_err(refuse)?;
        let generation = last.map_or(1, |last| last.generation + 1);
        let is_new = !found.is_empty() && !archive.has(&found).map_err(refuse)?;
        let new = NewGeneration {
            generation,
            text: loaded.text,
            unix_millis: unix_millis(),
            origin: "rollback",
            author: Some(format!("uid {}", rustix::process::getuid().as_raw())),
            file: std::path::absolute(file).unwrap_or_else(|_| file.clone()),
            restores: Some(Replaced { by: self.generation, text: is_new.then_some(found) }),
        };
        history.keep(new).map_err(refuse)?;
        if let Err(failure) = files::put_back(file, text.expose(), self.generation) {
            history.forget(generation);
            return Err(failure);
        }
        terminal::out(&format!(
            "{} has the text of generation {} again, as generation {generation}\n\
             No gateway works in {}: `berry serve` starts with it.\n",
            file.display(),
            self.generation,
            self.place.data.display()
        ));
        Ok(Status::Done)
    }

    fn with_gateway(&self, text: &Secret) -> Outcome {
        let running = archive(&self.place).last().map_err(refuse)?;
        let running = running.map(|last| archive(&self.place).text(last.generation)).transpose().map_err(refuse)?;
        let running = running.and_then(|text| load(text.expose(), &self.place.file).config);
        let path = format!("/admin/config/rollback{}", if self.force { "?confirm=true" } else { "" });
        let asked = running.as_ref().and_then(AdminApi::of);
        let answer = asked.and_then(|api| api.post(&path, &json!({"generation": self.generation})).ok());
        match answer {
            Some((200, report)) => {
                terminal::out(&format!(
                    "generation {} is in force again, as generation {}\n",
                    self.generation, report["generation"]
                ));
                Ok(Status::Done)
            }
            Some((422, report)) => Err(not_used(&report)),
            Some((_, answer)) => {
                let told = answer["error"]["message"].as_str().unwrap_or_default();
                terminal::err(&format!("the running gateway did not do it ({told}); the file is written here\n"));
                self.beside_gateway(text)
            }
            None => self.beside_gateway(text),
        }
    }

    /// A gateway works there and follows the file.
    fn beside_gateway(&self, text: &Secret) -> Outcome {
        let file = &self.place.file;
        if check(text, file).is_none() {
            return Ok(Status::Failed);
        }
        let found = load_file(file).text;
        let is_lost = !found.is_empty() && !archive(&self.place).has(&found).map_err(refuse)?;
        if is_lost && !self.force {
            return Err(Failure::new(
                format!("{} holds what never ran and is kept nowhere", file.display()),
                "copy it elsewhere and say --force",
            ));
        }
        files::put_back(file, text.expose(), self.generation)?;
        terminal::out(&format!(
            "{} has the text of generation {} again\n\
             The running gateway takes it within two seconds, as its log says; with `[config] watch = false` send it SIGHUP.\n",
            file.display(),
            self.generation
        ));
        Ok(Status::Done)
    }
}

/// Whether it holds today: what it names may be gone. If it does not, that is told.
fn check(text: &Secret, file: &Path) -> Option<Loaded> {
    let loaded = load(text.expose(), file);
    let Some(config) = &loaded.config else {
        terminal::err(&render(&loaded.problems, file, terminal::err_colour()));
        return None;
    };
    if let Err(unusable) = assemble::prepare(config) {
        terminal::err(&assemble::render_unusable(&unusable));
        return None;
    }
    Some(loaded)
}

/// What the gateway found wrong with it.
fn not_used(report: &Value) -> Failure {
    let problems = report["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let errors = problems.iter().filter(|problem| problem["severity"] == "error");
    let said = |problem: &Value, name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let lines: Vec<String> = errors
        .clone()
        .map(|problem| format!("{} {}", said(problem, "path"), said(problem, "message")).trim_start().to_owned())
        .collect();
    let remedy = match report["result"] == "refused" {
        true => "say --force if it is meant".to_owned(),
        false => errors.map(|problem| said(problem, "remedy")).next().unwrap_or_default(),
    };
    Failure::new(format!("the gateway does not take it: {}", lines.join("; ")), remedy)
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
