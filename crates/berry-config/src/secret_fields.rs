//! The secrets that stand in a configuration file itself, and writing them anew in their place. Only the bytes of a value change:
//! the walk that loads the file knows where each one stands, so that comments, order and line ends stay as they were typed.

use std::ops::Range;
use std::path::{Path, PathBuf};

use berry_vocab::Secret;
use zeroize::Zeroizing;

use crate::key_file::Keys;
use crate::load;
use crate::problem::Problem;
use crate::raw;
use crate::reader::Reader;
use crate::rule::suggestion;
use crate::starter::quoted;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A field that holds a secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SecretField {
    /// Its path, as `providers.openai.api_keys[0]`.
    pub path: String,
    /// What is written there.
    pub text: Secret,
    /// Whether that is a sealed value.
    pub is_sealed: bool,
    pub(crate) span: Range<usize>,
}

/// All of a file's. Its Debug form would be the file itself, so it has none.
pub struct SecretFields {
    text: Zeroizing<String>,
    fields: Vec<SecretField>,
    key_file: PathBuf,
}

// === impl SecretFields ===

impl SecretFields {
    /// Reads a file. It need not hold as a configuration, but it has to be TOML.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        match load::read(path) {
            Ok(text) => Self::parse(Zeroizing::new(text), path),
            Err((message, remedy)) => Err(load::no_file(path, message, remedy).problems),
        }
    }

    fn parse(text: Zeroizing<String>, origin: &Path) -> Result<Self, Vec<Problem>> {
        let toml = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
        let (raw, faults) = raw::parse(toml);
        let base = origin.parent().unwrap_or(Path::new(""));
        let mut reader = Reader::new(base, Keys::new(&raw, base));
        // What else is wrong with the file is `berry check`'s to say.
        let _ = reader.root(&raw);
        if !faults.is_empty() {
            return Err(load::broken(toml, origin, &faults, reader.masks).problems);
        }
        let offset = text.len() - toml.len();
        let mut fields: Vec<SecretField> = reader.secrets.into_iter().filter(|field| !field.text.is_empty()).collect();
        for field in &mut fields {
            field.span = field.span.start + offset..field.span.end + offset;
        }
        fields.sort_by_key(|field| field.span.start);
        Ok(Self { fields, key_file: reader.keys.path, text })
    }

    /// All, in the order of the file. A key without a text, as keyless servers have, is none.
    pub fn all(&self) -> &[SecretField] {
        &self.fields
    }

    /// The field of this path, or all of the list or table of this path; if there is none, the remedy.
    pub fn under(&self, path: &str) -> Result<Vec<&SecretField>, String> {
        let is_under = |field: &&SecretField| {
            field.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let found: Vec<&SecretField> = self.fields.iter().filter(is_under).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let remedy = suggestion(path, self.fields.iter().map(|field| field.path.as_str()));
        Err(if remedy.is_empty() { "write it there first: the file holds no secret at all".to_owned() } else { remedy })
    }

    /// Where the keys of its sealed values are, or belong.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// The file's text with what `new` gives for each field in place of its value; `None` leaves it as it is.
    pub fn rewritten(&self, mut new: impl FnMut(&SecretField) -> Option<Secret>) -> Zeroizing<String> {
        let mut parts = Zeroizing::new(Vec::new());
        let mut end = 0;
        for field in &self.fields {
            if let Some(value) = new(field) {
                parts.push(self.text.get(end..field.span.start).unwrap_or_default().to_owned());
                parts.push(quoted(value.expose()));
                end = field.span.end;
            }
        }
        parts.push(self.text.get(end..).unwrap_or_default().to_owned());
        Zeroizing::new(parts.concat())
    }
}
