//! What a file may hold, as data: each table's keys with their rule, default and doc. Reading, "did you mean", the schema, the
//! starter file and the reference all derive from these rows, so that none of them can go stale.

/// A table of the file. Its rows stand in `table/`.
pub(crate) struct Table {
    /// What it is for, in a sentence.
    pub(crate) doc: &'static str,
    /// Its keys, in the order in which documents show them.
    pub(crate) keys: &'static [Key],
    /// Whether keys that are not listed pass without a word.
    pub(crate) open: bool,
}

/// A key of a table.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    pub(crate) default: Default,
    pub(crate) effect: Effect,
    /// What it does, in whole sentences.
    pub(crate) doc: &'static str,
}

/// What holds where a key is not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Default {
    /// It must be written.
    Required,
    /// It must be written unless this other key is.
    RequiredWithout(&'static str),
    /// Nothing; the doc says what that means. A table of this kind means something by being there, even empty.
    Unset,
    /// This, as TOML.
    Is(&'static str),
}

/// Whether this version acts on a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// It does.
    Now,
    /// It does not yet; a warning says so, and what follows from that.
    Later(&'static str),
}

/// What a value must be.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    Flag,
    /// An integer from, to.
    Whole(i64, i64),
    /// An integer from, to, or this word.
    WholeOr(i64, i64, &'static str),
    /// A number from, to.
    Number(f64, f64),
    /// A number above, and up to.
    Above(f64, f64),
    /// A duration from, to, in seconds.
    Seconds(f64, f64),
    /// A size from, to, in bytes.
    Bytes(u64, u64),
    /// A string that is not empty.
    Text,
    /// One of some words.
    Word(Words),
    /// An array of strings that are not empty.
    Texts,
    /// A secret, in clear, sealed or by reference; may be empty.
    Secret,
    /// An array of secrets.
    Secrets,
    /// A file or folder, relative to the configuration file.
    Path,
    /// The address of a listener.
    Listen,
    /// Header names and their secret values.
    Headers,
    /// An array of header names.
    HeaderNames,
    /// An array of addresses and networks.
    Nets,
    /// A date with a time and an offset.
    Instant,
    /// A table with these keys.
    Table(&'static Table),
    /// Tables by id.
    Map(&'static Table),
    /// An array of tables.
    List(&'static Table),
}

/// Words that a key may hold.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// Those that work.
    pub(crate) now: fn() -> Vec<&'static str>,
    /// Those that a later version brings.
    pub(crate) later: &'static [&'static str],
}

/// A bound that no one reaches: "at least".
pub(crate) const ANY_WHOLE: i64 = u32::MAX as i64;

// === impl Table ===

impl Table {
    pub(crate) const fn new(doc: &'static str, keys: &'static [Key]) -> Self {
        Self { doc, keys, open: false }
    }

    /// A table whose keys are not settled yet.
    pub(crate) const fn open(doc: &'static str) -> Self {
        Self { doc, keys: &[], open: true }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The known key that is nearest to `name`, if one is near.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.keys.iter().map(|key| key.name))
    }
}

// === impl Key ===

impl Key {
    /// A key with a default, written as TOML.
    pub(crate) const fn new(name: &'static str, rule: Rule, default: &'static str, doc: &'static str) -> Self {
        Self { name, rule, default: Default::Is(default), effect: Effect::Now, doc }
    }

    /// A key that may be left out, with no default.
    pub(crate) const fn optional(name: &'static str, rule: Rule, doc: &'static str) -> Self {
        Self { name, rule, default: Default::Unset, effect: Effect::Now, doc }
    }

    /// A key that must be written.
    pub(crate) const fn required(name: &'static str, rule: Rule, doc: &'static str) -> Self {
        Self { name, rule, default: Default::Required, effect: Effect::Now, doc }
    }

    /// A key that must be written where `other` is not.
    pub(crate) const fn required_without(
        other: &'static str,
        name: &'static str,
        rule: Rule,
        doc: &'static str,
    ) -> Self {
        Self { name, rule, default: Default::RequiredWithout(other), effect: Effect::Now, doc }
    }

    /// Known and checked, but not in effect in this version.
    pub(crate) const fn later(self) -> Self {
        self.later_saying("it may stay for a later version; until then nothing depends on it")
    }

    /// As [`Key::later`], with what follows from that.
    pub(crate) const fn later_saying(mut self, what: &'static str) -> Self {
        self.effect = Effect::Later(what);
        self
    }
}

/// The candidate that was probably meant. Short names must be closer than long ones.
pub(crate) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    // Nobody mistypes a name of hundreds of characters, and the distance is quadratic in the length.
    if name.len() > 100 {
        return None;
    }
    let folded = name.to_lowercase().replace('-', "_");
    candidates
        .map(|candidate| (strsim::osa_distance(&folded, &candidate.to_lowercase().replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let keys = || ["weight", "priority", "enabled", "tags", "base_url"].into_iter();
        assert_eq!(nearest("wieght", keys()), Some("weight"));
        assert_eq!(nearest("baseURL", keys()), Some("base_url"));
        assert_eq!(nearest("base-url", keys()), Some("base_url"));
        assert_eq!(nearest("colour", keys()), None);
        assert_eq!(nearest(&"w".repeat(10_000), keys()), None);
    }
}
