//! The judge is judged: each promise, broken by hand in the record of a world that kept it, is seen to be broken.

use super::super::fault::Fault;
use super::super::plan::{CHAOS_ENDS, Plan, Question};
use super::super::record::{Ask, Attempt, Ended, Over, Record};
use super::super::run;
use super::super::speech::SPEECHES;
use super::{Hope, broken, failure, kept, one_end, refused};
use crate::harness::Response;

/// A seed with OpenAI's protocol, a steady provider and no second attempts, where somebody leaves in time.
fn sound_world() -> (Plan, Record) {
    let is_plain = |plan: &Plan| {
        plan.steady.is_some() && plan.is_bounded() && plan.speech.backend_type == "openai" && plan.providers() > 2
    };
    let mut worlds = (1..).map(Plan::new).filter(is_plain).map(|plan| (run(plan.seed).record, plan));
    let (record, plan) = worlds.find(|(record, _)| record.attempts.iter().any(was_cancelled)).unwrap();
    assert_eq!(broken(&plan, &record), Vec::<String>::new());
    (plan, record)
}

fn was_cancelled(attempt: &Attempt) -> bool {
    matches!(attempt.end, Some(Over::Cancelled(_)))
}

/// Breaks the answers that `change` takes an interest in, and expects the judge to say so.
fn is_caught(change: impl Fn(&mut Ask) -> bool, word: &str) {
    let (plan, mut record) = sound_world();
    let changed = record.asks.values_mut().any(change);
    assert!(changed, "no answer to break");
    let broken = broken(&plan, &record);
    assert!(broken.iter().any(|what| what.contains(word)), "{broken:?}");
}

/// Breaks an answer to a stream (or a plain one).
fn of_answers(stream: bool, change: impl Fn(&mut Response)) -> impl Fn(&mut Ask) -> bool {
    move |ask| match &mut ask.ended {
        Ended::Told(answer) if ask.question.stream == stream && answer.status == 200 => {
            change(answer);
            true
        }
        _ => false,
    }
}

#[test]
fn a_failure_that_a_steady_provider_could_have_prevented_is_caught() {
    is_caught(of_answers(false, |answer| answer.status = 502), "although a provider behaved");
}

#[test]
fn a_refusal_that_hides_an_answer_or_that_nobody_gave_is_caught() {
    is_caught(of_answers(false, |answer| answer.status = 400), "which nobody said");
    let attempt = |provider, fault| Attempt {
        ask: 1,
        provider,
        fault,
        begun: 0,
        is_stale: false,
        body: Vec::new(),
        is_framed: true,
        end: Some(Over::Played(0)),
    };
    let (refusal, answer) = (attempt(0, Some(Fault::Status(400))), attempt(1, None));
    assert_eq!(refused(&[&refusal]), Ok(()));
    assert!(refused(&[&refusal, &answer]).unwrap_err().contains("p1 had an answer"));
}

#[test]
fn a_changed_byte_is_caught() {
    is_caught(of_answers(false, |answer| answer.body[10] ^= 1), "told");
    is_caught(of_answers(true, |answer| answer.body[10] ^= 1), "other bytes");
}

#[test]
fn an_answer_of_another_provider_is_caught() {
    let rename = |answer: &mut Response| {
        let field = answer.fields.iter_mut().find(|(name, _)| name == "berry-backend").unwrap();
        field.1 = if field.1 == "p0/m0" { "p1/m1".to_owned() } else { "p0/m0".to_owned() };
    };
    is_caught(of_answers(false, rename), "");
}

#[test]
fn an_answer_that_was_cut_is_caught() {
    is_caught(of_answers(true, |answer| answer.complete = false), "cut");
}

#[test]
fn a_stream_that_begins_with_its_failure_is_caught() {
    let ours = SPEECHES[0].their_error_event().replace("theirs", "ours");
    is_caught(of_answers(true, |answer| answer.body = ours.clone().into_bytes()), "began before");
}

#[test]
fn silence_and_waiting_for_ever_are_caught() {
    for (ended, word) in [(0, "never ended"), (1, "without an answer")] {
        let change = |ask: &mut Ask| {
            ask.ended = if ended == 0 { Ended::Open } else { Ended::Silence };
            true
        };
        is_caught(change, word);
    }
}

#[test]
fn a_provider_that_is_kept_busy_for_nobody_is_caught() {
    let (plan, mut record) = sound_world();
    record.attempts.iter_mut().find(|attempt| was_cancelled(attempt)).unwrap().end = None;
    assert!(broken(&plan, &record).iter().any(|what| what.contains("but its attempt")));
}

#[test]
fn a_second_attempt_when_all_is_well_is_caught() {
    let twice = |answer: &mut Response| {
        answer.fields.iter_mut().filter(|(name, _)| name == "berry-attempts").for_each(|it| it.1 = "2".to_owned());
    };
    let change = |ask: &mut Ask| ask.asked > CHAOS_ENDS + 10_000 && of_answers(ask.question.stream, twice)(ask);
    is_caught(change, "although all was well");
}

#[test]
fn a_storm_of_attempts_is_caught() {
    let (plan, mut record) = sound_world();
    for ask in record.asks.values_mut() {
        if let Ended::Told(answer) = &mut ask.ended {
            answer.fields.iter_mut().filter(|it| it.0 == "berry-attempts").for_each(|it| it.1 = "2".to_owned());
        }
    }
    assert!(broken(&plan, &record).iter().any(|what| what.contains("while breakers were open")));
}

/// What a stream may and may not end with, for each protocol: sent, told, whether the framing ended, and the verdict.
#[test]
fn a_stream_has_exactly_one_end_and_no_invented_one() {
    for speech in &SPEECHES {
        let events = speech.events("p0", 3);
        let whole = events.concat();
        let (last, begun) = (events.last().unwrap(), events[..3].concat());
        let ours = speech.their_error_event().replace("theirs", "ours");
        let half = format!("{begun}data: {{\"cho");
        let check = |sent: &str, told: String, is_framed| one_end(speech, &told, sent, is_framed).is_ok();
        assert!(check(&whole, whole.clone(), true));
        assert!(check(&begun, format!("{begun}{ours}"), true) && check(&half, format!("{begun}{ours}"), false));
        let failed = format!("{begun}{}", speech.their_error_event());
        assert!(check(&failed, failed.clone(), true));
        for (sent, told, what) in [
            (&begun, begun.clone(), "no end"),
            (&begun, format!("{begun}{last}"), "an invented end"),
            (&whole, format!("{whole}{ours}"), "two ends"),
            (&begun, format!("{begun}{ours}{last}"), "an end behind an error"),
            (&begun, format!("{begun}{ours}{ours}"), "two errors"),
            (&failed, format!("{failed}{ours}"), "an error behind theirs"),
            (&half, format!("{half}{ours}"), "an error within an event"),
            (&begun, format!("{}{ours}", events[0]), "a lost event"),
            (&whole, format!("{begun}{ours}"), "an error in the place of what came"),
        ] {
            assert!(!check(sent, told, true), "{}: {what}", speech.backend_type);
        }
    }
}

#[test]
fn a_failure_with_a_false_status_is_caught() {
    let answer = |status, body: &str| Response {
        status,
        fields: vec![("retry-after".to_owned(), "1".to_owned())],
        body: body.as_bytes().to_vec(),
        complete: true,
    };
    let told = r#"{"error":{"message":"no","type":"server_error","param":null,"code":"upstream_timeout"}}"#;
    assert!(failure(&SPEECHES[0], &answer(504, told)).is_ok());
    for bad in [answer(502, told), answer(500, told), answer(504, "oops"), answer(504, SPEECHES[0].error)] {
        assert!(failure(&SPEECHES[0], &bad).is_err(), "{bad:?}");
    }
}

#[test]
fn an_attempt_that_outlives_its_answer_is_caught() {
    let attempt = |end| Attempt {
        ask: 1,
        provider: 0,
        fault: None,
        begun: 0,
        is_stale: false,
        body: Vec::new(),
        is_framed: true,
        end,
    };
    let ask = Ask { question: Question { id: 1, stream: true }, asked: 0, ended: Ended::Left(None), at: 1_000 };
    for (end, is_kept) in [
        (Some(Over::Cancelled(1_100)), true),
        (Some(Over::Played(900)), true),
        (Some(Over::Cancelled(1_101)), false),
        (Some(Over::Played(1_101)), false),
        (None, false),
    ] {
        let kept = kept(&SPEECHES[0], Hope::Truth, &ask, &[&attempt(end)]);
        assert_eq!(kept.is_ok(), is_kept, "{end:?}");
    }
    for (closed, is_kept) in [(1_100, true), (1_101, false)] {
        let ask = Ask { ended: Ended::Left(Some(closed)), ..ask };
        assert_eq!(kept(&SPEECHES[0], Hope::Truth, &ask, &[]).is_ok(), is_kept, "let go at {closed}");
    }
}
