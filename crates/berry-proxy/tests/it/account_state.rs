//! State that only one account knows finds the backend that made it (failure model, R7).

use berry_mock::Script;

use crate::harness::{ALICE, Berry, Response};

async fn respond(berry: &Berry, more: &str) -> Response {
    let body = format!(r#"{{"model":"turns","input":"hi"{more}}}"#);
    berry.post("/v1/responses", &[("x-api-key", ALICE)], &body).await
}

fn response(id: &str) -> Script {
    Script::new().json(200, format!(r#"{{"id":"{id}","object":"response","status":"completed","output":[]}}"#))
}

#[tokio::test]
async fn a_follow_up_goes_to_the_backend_that_made_what_it_refers_to() {
    let berry = Berry::start().await;
    let ids: Vec<String> = (0..3).map(|i| format!("resp_{i}")).collect();
    let mut made = Vec::new();
    for id in &ids {
        // Whichever backend's turn it is, it answers with this id.
        berry.first.script(response(id));
        berry.second.script(response(id));
        let answer = respond(&berry, "").await;
        made.push(answer.field("berry-backend").unwrap().to_owned());
        // The other one's script is used up, so that the next turn begins clean.
        let idle = if made.last().unwrap().starts_with("first") { &berry.second } else { &berry.first };
        while idle.scripts_left() > 0 {
            let stream = tokio::net::TcpStream::connect(idle.addr()).await.unwrap();
            let mut direct = crate::harness::Connection::over(stream);
            direct.send(crate::harness::request("/v1/responses", &[], r#"{"model":"m","input":""}"#)).await;
            direct.response().await;
        }
    }
    assert!(made.iter().any(|backend| backend != &made[0]), "the turns reach both: {made:?}");
    for (id, backend) in ids.iter().zip(&made) {
        for _ in 0..3 {
            let answer = respond(&berry, &format!(r#","previous_response_id":"{id}""#)).await;
            assert_eq!(answer.field("berry-backend"), Some(backend.as_str()), "{id}");
        }
    }
}

#[tokio::test]
async fn a_follow_up_of_an_unknown_answer_is_tried_as_any_other() {
    let berry = Berry::start().await;
    let answer = respond(&berry, r#","previous_response_id":"resp_unknown""#).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn what_a_stream_hands_out_is_remembered_too() {
    let berry = Berry::start().await;
    let events = |id: &str| {
        let created = format!(r#"{{"type":"response.created","sequence_number":0,"response":{{"id":"{id}"}}}}"#);
        let delta = r#"{"type":"response.output_text.delta","sequence_number":1,"delta":"x"}"#;
        let item = format!(
            r#"{{"type":"response.output_item.done","sequence_number":2,"item":{{"type":"reasoning","encrypted_content":"secret-of-{id}"}}}}"#
        );
        let done = format!(r#"{{"type":"response.completed","sequence_number":3,"response":{{"id":"{id}"}}}}"#);
        let all = [created, delta.to_owned(), item, done];
        Script::new().sse(all.map(|data| format!("data: {data}\n\n")).concat())
    };
    berry.first.script(events("resp_s"));
    berry.second.script(events("resp_s"));
    let made = respond(&berry, r#","stream":true"#).await.field("berry-backend").unwrap().to_owned();
    let input = r#","include":[{"type":"reasoning","encrypted_content":"secret-of-resp_s"}]"#;
    for _ in 0..3 {
        assert_eq!(respond(&berry, input).await.field("berry-backend"), Some(made.as_str()));
    }
}
