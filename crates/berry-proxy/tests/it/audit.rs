//! What the data plane notes for the audit log: refusals, forced backends, and every request only where that is wanted.

use std::sync::{Arc, Mutex};

use berry_proxy::ports::{Audit, AuditStanding, Ended, KeyRefused, Occasion};
use berry_vocab::Code;

use crate::harness::{ALICE, Berry, ROOT, bearer, chat_body, fault, without_retries};

/// Writes down what is noted.
#[derive(Default)]
struct Notes(Mutex<Vec<(Occasion, String)>>);

impl Audit for Notes {
    fn note(&self, ended: &Ended<'_>) {
        let Ended { user, route, model, backend, outcome, ip, .. } = ended;
        let user = user.map_or("nobody", |user| user.as_str());
        let text =
            [user, route, model.unwrap_or("-"), backend.unwrap_or("-"), outcome, &ip.unwrap().to_string()].join(" ");
        self.0.lock().unwrap().push((ended.occasion, text));
    }

    fn note_key_refused(&self, refused: &KeyRefused<'_>) {
        let KeyRefused { provider, key, is_put_aside, .. } = refused;
        self.0.lock().unwrap().push((Occasion::Asked, format!("{provider} {key} {is_put_aside}")));
    }

    fn standing(&self) -> AuditStanding {
        AuditStanding { failing: Some("the disk is full".into()), records: 7, lost: 2 }
    }
}

async fn noted(more: &str) -> Vec<(Occasion, String)> {
    let more = more.to_owned();
    let mut berry = Berry::with(move |text| text + &more).await;
    let notes = Arc::new(Notes::default());
    berry.gateway.account_to(notes.clone());
    for (token, backend) in [(ALICE, ""), (ROOT, "second"), (ALICE, "second"), ("of-nobody", "")] {
        let bearer = bearer(token);
        let fields = [bearer.as_field(), ("content-type", "application/json"), ("berry-backend", backend)];
        let count = if backend.is_empty() { 2 } else { 3 };
        berry.post("/v1/chat/completions", &fields[..count], &chat_body("chat")).await;
    }
    // Of who shows no token at all, and of pages that take none.
    berry.get("/v1/models", &[]).await;
    berry.get("/health", &[]).await;
    berry.get("/nothing", &[]).await;
    let metrics = berry.get("/metrics", &[]).await.text();
    for line in ["berry_audit_failing{service=\"berry-api\"} 1", "berry_audit_lost_total{service=\"berry-api\"} 2"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    berry.drain();
    drop(berry);
    let notes = notes.0.lock().unwrap();
    notes.clone()
}

fn refused(code: Code) -> Occasion {
    Occasion::Refused(code)
}

#[tokio::test]
async fn refusals_and_forced_backends_are_noted_and_no_other_request() {
    let notes = noted("").await;
    let told: Vec<(Occasion, &str)> = notes.iter().map(|(occasion, text)| (*occasion, text.as_str())).collect();
    assert_eq!(
        told,
        [
            (Occasion::Forced, "root /v1/chat/completions chat second/gpt-second answered 127.0.0.1"),
            (refused(Code::BackendForbidden), "alice /v1/chat/completions chat - backend_forbidden 127.0.0.1"),
            (refused(Code::AuthMissingOrInvalid), "nobody /v1/chat/completions - - auth_missing_or_invalid 127.0.0.1"),
            (refused(Code::AuthMissingOrInvalid), "nobody /v1/models - - auth_missing_or_invalid 127.0.0.1"),
        ]
    );
}

#[tokio::test]
async fn every_request_of_a_user_is_noted_where_that_is_wanted() {
    let notes = noted("\n[audit]\nrequests = true\n").await;
    let occasions: Vec<Occasion> = notes.iter().map(|(occasion, _)| *occasion).collect();
    let stranger = refused(Code::AuthMissingOrInvalid);
    assert_eq!(occasions, [Occasion::Asked, Occasion::Forced, Occasion::Asked, stranger, stranger]);
    assert!(notes[2].1.ends_with("backend_forbidden 127.0.0.1"), "{notes:?}");
}

#[tokio::test]
async fn a_key_that_is_refused_is_noted_by_its_place() {
    let two_keys = |text: String| {
        let keys = "api_keys = [\"sk-one-0123456789\", \"sk-two-0123456789\"]";
        without_retries(text).replace("api_key = \"sk-first-0123456789\"", keys)
    };
    let berry = Berry::with(two_keys).await;
    let notes = Arc::new(Notes::default());
    berry.gateway.account_to(notes.clone());
    for _ in 0..3 {
        berry.first.script(fault("401"));
    }
    assert_eq!([berry.chat("single").await.status, berry.chat("single").await.status], [502, 502]);
    let notes: Vec<String> = notes.0.lock().unwrap().iter().map(|(_, text)| text.clone()).collect();
    assert_eq!(notes.len(), 3, "{notes:?}");
    let (put_aside, last): (Vec<_>, Vec<_>) = notes.iter().partition(|note| note.ends_with("true"));
    assert!(
        put_aside.len() == 1 && last.len() == 2 && notes.iter().all(|note| note.starts_with("first ")),
        "{notes:?}"
    );
}
