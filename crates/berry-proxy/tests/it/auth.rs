//! Who may ask, and for what.

use crate::harness::{ALICE, BOB, Berry, FORCER, ROOT, bearer, chat_body};

#[tokio::test]
async fn a_token_is_taken_in_every_place_that_the_vendors_clients_use() {
    let berry = Berry::start().await;
    let bearer = format!("Bearer {ALICE}");
    let lower = format!("bearer {ALICE}");
    for field in [
        ("authorization", bearer.as_str()),
        ("Authorization", &lower),
        ("x-api-key", ALICE),
        ("api-key", ALICE),
        ("X-Goog-Api-Key", ALICE),
    ] {
        assert_eq!(berry.post("/v1/chat/completions", &[field], &chat_body("chat")).await.status, 200, "{field:?}");
    }
    let hashed = "token-known-by-its-hash";
    assert_eq!(berry.chat_as(hashed, "chat").await.status, 200);
    let path = format!("/v1beta/models/gemini:generateContent?key={ALICE}");
    assert_eq!(berry.post(&path, &[], r#"{"contents":[]}"#).await.status, 200);
    let path = format!("/v1/chat/completions?key={ALICE}");
    assert_eq!(
        berry.post(&path, &[], &chat_body("chat")).await.status,
        401,
        "only Gemini's routes take a key in the query"
    );
}

#[tokio::test]
async fn every_bad_token_gets_the_same_answer() {
    let berry = Berry::start().await;
    let mut answers = Vec::new();
    for token in ["token-that-is-unknown-1", "token-of-a-gone-user-1", "token-that-has-expired", "", "x"] {
        let mut answer = berry
            .post("/v1/chat/completions", &[bearer(token).as_field(), ("x-request-id", "same")], &chat_body("chat"))
            .await;
        answer.fields.retain(|(name, _)| name != "date");
        answers.push((answer.status, answer.text(), answer.fields));
    }
    answers.push({
        let mut answer = berry.post("/v1/chat/completions", &[("x-request-id", "same")], &chat_body("chat")).await;
        answer.fields.retain(|(name, _)| name != "date");
        (answer.status, answer.text(), answer.fields)
    });
    assert_eq!(answers[0].0, 401);
    assert!(answers[0].1.contains("auth_missing_or_invalid"));
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}

#[tokio::test]
async fn credentials_that_disagree_are_refused() {
    let berry = Berry::start().await;
    for (other, status) in [(BOB, 401), (ALICE, 200)] {
        let answer =
            berry.post("/v1/chat/completions", &[("x-api-key", other), ("api-key", ALICE)], &chat_body("chat")).await;
        assert_eq!(answer.status, status, "{other} beside {ALICE}");
    }
    let basic =
        berry.post("/v1/chat/completions", &[("authorization", "Basic eDp5"), ("x-api-key", ALICE)], "{}").await;
    assert_eq!(basic.status, 401);
}

#[tokio::test]
async fn a_token_is_checked_before_the_body_is_read() {
    let berry = Berry::start().await;
    let mut connection = berry.connect().await;
    connection.send("POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\ncontent-length: 500000\r\n\r\n").await;
    let answer = connection.response().await;
    assert_eq!((answer.status, answer.field("connection")), (401, Some("close")));
}

#[tokio::test]
async fn models_are_found_allowed_or_refused() {
    let berry = Berry::start().await;
    for (token, model, status, code) in [
        (ALICE, "chat", 200, ""),
        (ALICE, "no-such-model", 404, "model_not_found"),
        (ALICE, "disabled", 404, "model_not_found"),
        (BOB, "chat", 200, ""),
        (BOB, "single", 403, "model_forbidden"),
        (BOB, "no-such-model", 404, "model_not_found"),
        (ALICE, "any-thing", 200, ""),
    ] {
        let answer = berry.chat_as(token, model).await;
        assert_eq!(answer.status, status, "{model}: {}", answer.text());
        if status != 200 {
            assert_eq!(answer.code(), code, "{model}");
        }
    }
    assert_eq!(
        berry.second.journal().last().unwrap().text(),
        chat_body("any-thing"),
        "a pattern passes the asked name on"
    );
}

#[tokio::test]
async fn tags_decide_which_backends_a_user_reaches() {
    let berry = Berry::with(|text| text.replace("allowed_models = [\"chat\", \"tagged\"]\n", "")).await;
    for _ in 0..8 {
        assert_eq!(berry.chat_as(BOB, "tagged").await.field("berry-backend"), Some("second/gpt-second"));
    }
    let none = berry.chat_as(BOB, "premium").await;
    assert_eq!((none.status, none.code().as_str()), (503, "no_backend"));
    assert_eq!(berry.chat_as(ALICE, "premium").await.status, 200, "a user without tags reaches every backend");
    assert_eq!(berry.chat_as(ROOT, "premium").await.status, 200);
}

#[tokio::test]
async fn only_those_allowed_may_name_a_backend_and_then_it_is_that_one() {
    let berry = Berry::start().await;
    let forced = |token: &'static str, backend: &'static str| {
        let berry = &berry;
        async move {
            berry
                .post(
                    "/v1/chat/completions",
                    &[bearer(token).as_field(), ("berry-backend", backend)],
                    &chat_body("chat"),
                )
                .await
        }
    };
    for token in [ROOT, FORCER] {
        let answer = forced(token, "second").await;
        assert_eq!((answer.status, answer.field("berry-backend")), (200, Some("second/gpt-second")));
    }
    assert_eq!(berry.second.journal().last().unwrap().header("berry-backend"), None, "control fields do not cross");
    let refused = forced(ALICE, "second").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "backend_forbidden"));
    let unknown = forced(ROOT, "nobody").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "invalid_request"));
    let disabled = forced(ROOT, "off").await;
    assert_eq!((disabled.status, disabled.code().as_str()), (503, "no_backend"));
    let in_body = r#"{"model":"chat", "backend":"second" ,"messages":[]}"#;
    let fields = [("x-api-key", ROOT), ("berry-backend", "first")];
    let torn = berry.post("/v1/chat/completions", &fields, in_body).await;
    assert_eq!((torn.status, torn.code().as_str()), (400, "invalid_request"), "header and field must agree");
    let answer = berry.post("/v1/chat/completions", &[bearer(ROOT).as_field()], in_body).await;
    assert_eq!(answer.field("berry-backend"), Some("second/gpt-second"));
    let sent = berry.second.journal().last().unwrap().text();
    assert!(!sent.contains("backend") && sent.contains(r#""model":"gpt-second""#), "{sent}");
}

#[tokio::test]
async fn the_lists_of_models_show_what_the_user_may_call_in_the_clients_dialect() {
    let berry = Berry::start().await;
    let ids = |answer: &crate::harness::Response, list: &str, key: &str| -> Vec<String> {
        answer.json()[list].as_array().unwrap().iter().map(|model| model[key].as_str().unwrap().to_owned()).collect()
    };
    let bob = berry.get("/v1/models", &[bearer(BOB).as_field()]).await;
    assert_eq!(ids(&bob, "data", "id"), ["chat", "tagged"]);
    let alice = berry.get("/v1/models", &[bearer(ALICE).as_field()]).await;
    let all = ids(&alice, "data", "id");
    assert!(all.is_sorted() && all.contains(&"gpt-4o".to_owned()) && !all.contains(&"disabled".to_owned()), "{all:?}");
    let anthropic = berry.get("/v1/models", &[("x-api-key", BOB), ("anthropic-version", "2023-06-01")]).await;
    assert_eq!(anthropic.json()["data"][0]["type"], "model");
    let gemini = berry.get("/v1beta/models", &[("x-goog-api-key", BOB)]).await;
    assert_eq!(ids(&gemini, "models", "name"), ["models/chat", "models/tagged"]);
    assert_eq!(berry.get(&format!("/v1beta/models?key={BOB}"), &[]).await.status, 200);
    assert_eq!(berry.get("/v1/models/chat", &[bearer(BOB).as_field()]).await.json()["id"], "chat");
    assert_eq!(berry.get("/v1/models/single", &[bearer(BOB).as_field()]).await.status, 404);
    assert_eq!(berry.get("/v1/models", &[]).await.status, 401);
}

#[tokio::test]
async fn a_forced_provider_is_reached_by_any_of_its_backends_that_the_tags_allow() {
    let second_backend = "[models.premium]\nname = \"premium\"\n";
    let with_cheap = "[[models.premium.backends]]\nprovider = \"first\"\nmodel = \"gpt-cheap\"\ntags = [\"cheap\"]\n";
    let berry = Berry::with(|text| {
        // Behind the premium one, for a user who may only use the cheap.
        let start = text.find(second_backend).unwrap();
        let end = start + text[start..].find("\n\n").unwrap() + 1;
        let text = format!("{}{with_cheap}{}", &text[..end], &text[end..]);
        text.replace("can_force_backend = true", "can_force_backend = true\ntags = [\"cheap\"]")
    })
    .await;
    let fields = [("x-api-key", FORCER), ("berry-backend", "first")];
    let answer = berry.post("/v1/chat/completions", &fields, &chat_body("premium")).await;
    assert_eq!((answer.status, answer.field("berry-backend")), (200, Some("first/gpt-cheap")));
}
