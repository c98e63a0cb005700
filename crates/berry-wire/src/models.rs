//! Lists of models in each dialect, as the vendors' SDKs read them.

use berry_vocab::Protocol;

use crate::protocol::spec;

/// What a list says of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelCard<'a> {
    /// Its public name.
    pub id: &'a str,
    /// When it came, in seconds since 1970.
    pub created: i64,
}

/// The body of the answer to a request for the list.
pub fn list_models(protocol: Protocol, cards: &[ModelCard<'_>]) -> Vec<u8> {
    (spec(protocol).list)(cards)
}

/// The body of the answer to a request for one model.
pub fn get_model(protocol: Protocol, card: &ModelCard<'_>) -> Vec<u8> {
    (spec(protocol).card)(card)
}

/// Seconds since 1970 as RFC 3339 in UTC. The civil date is counted in eras of 400 years from 1 March 0000, so that the leap
/// day is a year's last. Beyond the years 0 to 9999, which RFC 3339 cannot write, the nearest day that it can.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let seconds = seconds.clamp(-62_167_219_200, 253_402_300_799);
    let (days, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARDS: [ModelCard<'_>; 2] =
        [ModelCard { id: "gpt-\"4\"", created: 1_700_000_000 }, ModelCard { id: "claude", created: 0 }];

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn openai_lists_name_the_owner() {
        assert_eq!(
            text(list_models(Protocol::OpenAi, &CARDS)),
            r#"{"object":"list","data":[{"id":"gpt-\"4\"","object":"model","created":1700000000,"owned_by":"berry"},{"id":"claude","object":"model","created":0,"owned_by":"berry"}]}"#
        );
        assert_eq!(
            text(get_model(Protocol::OpenAi, &CARDS[1])),
            r#"{"id":"claude","object":"model","created":0,"owned_by":"berry"}"#
        );
    }

    #[test]
    fn anthropic_lists_are_one_page() {
        assert_eq!(
            text(list_models(Protocol::Anthropic, &CARDS[1..])),
            r#"{"data":[{"type":"model","id":"claude","display_name":"claude","created_at":"1970-01-01T00:00:00Z"}],"has_more":false,"first_id":"claude","last_id":"claude"}"#
        );
        assert_eq!(
            text(list_models(Protocol::Anthropic, &[])),
            r#"{"data":[],"has_more":false,"first_id":null,"last_id":null}"#
        );
    }

    #[test]
    fn gemini_lists_name_the_resource() {
        let list: serde_json::Value = serde_json::from_slice(&list_models(Protocol::Gemini, &CARDS[1..])).unwrap();
        assert_eq!(list["models"][0]["name"], "models/claude");
        assert_eq!(list["models"][0]["displayName"], "claude");
        assert_eq!(list["models"][0]["supportedGenerationMethods"][0], "generateContent");
        let one: serde_json::Value = serde_json::from_slice(&get_model(Protocol::Gemini, &CARDS[1])).unwrap();
        assert_eq!(one, list["models"][0]);
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
