//! `[[models.ID.backends]]`

use berry_vocab::ProviderId;

use crate::checked::Checked;
use crate::config::{Backend, Billing};
use crate::registry::{Key, Rule, Table, Words};

pub(crate) static TABLE: Table = Table::new(
    "One way to serve a model.",
    &[
        Key::required("provider", Rule::Text, "The id of the provider."),
        Key::required("model", Rule::Text, "The name that the provider knows; `*` passes the asked name on."),
        Key::new("weight", Rule::Above(0.0, 100.0), "1.0", "Share of the traffic, relative to the others."),
        Key::new("priority", Rule::Whole(0, 10), "0", "Order for the strategy `failover`: lower first."),
        Key::new("enabled", Rule::Flag, "true", "Whether it gets traffic."),
        Key::new(
            "tags",
            Rule::Texts,
            "[]",
            "Who may use it: users with one of these tags, and users without tags. `premium` also means dear.",
        ),
        Key::new(
            "billing_mode",
            Rule::Word(Words { now: || vec!["per_token", "per_request"], later: &[] }),
            "\"per_token\"",
            "How the vendor bills; `per_request` is never checked by a request that costs.",
        ),
        Key::optional("input_price", Rule::Number(0.0, 1e6), "USD for a million input tokens."),
        Key::optional("output_price", Rule::Number(0.0, 1e6), "USD for a million output tokens."),
    ],
);

pub(crate) fn build(t: &Checked) -> Option<Backend> {
    let per_request = t.text("billing_mode").as_deref() == Some("per_request");
    Some(Backend {
        provider: ProviderId::new(&t.text("provider")?),
        model: t.text("model")?,
        weight: t.number("weight").unwrap_or_default(),
        priority: t.small("priority"),
        enabled: t.flag("enabled"),
        tags: t.strings("tags"),
        billing: if per_request { Billing::PerRequest } else { Billing::PerToken },
        input_price: t.number("input_price"),
        output_price: t.number("output_price"),
    })
}
