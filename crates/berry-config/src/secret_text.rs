//! Strings that hold a secret: in clear, sealed, or where to find it. No message here holds a byte of one.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use berry_vocab::Secret;

use crate::file_mode;
use crate::problem::Place;
use crate::raw::{RawNode, RawTable, RawValue};
use crate::reader::Reader;
use crate::registry::Rule;
use crate::rule::{self, Misfit};
use crate::seal;
use crate::secret_fields::SecretField;

/// No key or token is longer; a wrong path to a big file must not fill the memory.
const LONGEST: u64 = 64 << 10;

impl Reader<'_> {
    /// Reads a secret, or reports why that cannot be done.
    pub(crate) fn secret(&mut self, name: &str, node: &RawNode, place: &Place) -> Option<Secret> {
        let read = match &node.value {
            RawValue::Text(text) => {
                self.masks.push(node.span.clone());
                self.written(text, node, place)
            }
            RawValue::Table(table) => self.reference(name, node, table, place),
            value => {
                self.masks.push(node.span.clone());
                Err(rule::wrong_type(&Rule::Secret, value))
            }
        };
        read.map_err(|misfit| self.misfit(name, place, misfit)).ok()
    }

    /// A secret that stands in the file itself.
    fn written(&mut self, text: &str, node: &RawNode, place: &Place) -> Result<Secret, Misfit> {
        let secret = Secret::new(text.to_owned());
        self.secrets.push(SecretField {
            path: place.path.clone(),
            text: secret.clone(),
            is_sealed: seal::is_sealed(text),
            span: node.span.clone(),
        });
        if seal::is_sealed(text) {
            return self.sealed(text, place);
        }
        self.clear_secrets |= !text.is_empty();
        Ok(secret)
    }

    fn sealed(&mut self, text: &str, place: &Place) -> Result<Secret, Misfit> {
        let is_first_use = self.keys.is_first_use();
        if is_first_use {
            // New keys are a change of what the file comes to.
            self.files.push(self.keys.path.clone());
        }
        if is_first_use && !self.keys.is_credential {
            file_mode::check(&mut self.problems, place, "the key file of the sealed values", &self.keys.path);
        }
        let keys = self.keys.ring().as_ref();
        let keys = keys.map_err(|fault| Misfit::new(format!("is sealed, and {fault}"), fault.remedy()))?;
        keys.open(&place.path, text).map_err(|fault| Misfit::new(fault.told(), fault.remedy(&place.path)))
    }

    fn reference(&mut self, name: &str, node: &RawNode, table: &RawTable, place: &Place) -> Result<Secret, Misfit> {
        let [entry] = table.entries.as_slice() else {
            self.masks.push(node.span.clone());
            return Err(Misfit::new("refers to no single place", "write { file = \"…\" } or { env = \"…\" }"));
        };
        match (entry.key.as_str(), &entry.node.value) {
            ("file", RawValue::Text(path)) => {
                let path = self.resolve(path);
                self.files.push(path.clone());
                file_mode::check(&mut self.problems, place, &format!("the file of `{name}`"), &path);
                from_file(&path)
            }
            ("env", RawValue::Text(variable)) => from_environment(variable),
            ("vault", _) => {
                self.masks.push(entry.node.span.clone());
                Err(Misfit::new("is in a vault, which is not supported yet in this version", LATER))
            }
            _ => {
                self.masks.push(entry.node.span.clone());
                Err(Misfit::new("refers to no place that is known", "write { file = \"…\" } or { env = \"…\" }"))
            }
        }
    }
}

const LATER: &str =
    "until a later version brings that, write it in clear, sealed, or as { file = \"…\" } or { env = \"…\" }";

fn from_file(path: &Path) -> Result<Secret, Misfit> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Misfit::new(
            "is in a file that is not there",
            "write the path of a file, absolute or relative to the configuration file",
        )),
        Err(error) => Err(Misfit::new(
            format!("is in a file that cannot be read: {}", error.kind()),
            "name a file that Berry may read, in UTF-8",
        )),
        Ok(_) if text.len() as u64 > LONGEST => {
            Err(Misfit::new("is in a file that is too big for a secret", "name the file with the secret alone"))
        }
        Ok(_) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())),
    }
}

fn from_environment(variable: &str) -> Result<Secret, Misfit> {
    // An empty name, or one with `=` or NUL, is never set.
    match std::env::var(variable) {
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(Misfit::new(
            "is in an environment variable that is not set",
            "set it for the process that runs Berry, or write the secret here",
        )),
    }
}
