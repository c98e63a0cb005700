//! Every fault of an upstream, as its client sees it and as the upstreams see it: for a stream and a plain answer, with a healthy
//! second backend and without, in each dialect. What is expected stands in one table; how a cell of it is asked and judged, in
//! `reliability/cell.rs`.

mod cell;

use std::collections::BTreeSet;

use cell::{Cell, Row, Seen};
use tokio::task::LocalSet;

use crate::harness::DIALECTS;
use Seen::{Breaks, Each, Fails, Overloads, Own, Passes, Theirs};

const AUTH: Seen = Fails("upstream_auth");
const BAD: Seen = Fails("upstream_bad_response");
const ERROR: Seen = Fails("upstream_error");
const LIMITED: Seen = Fails("upstream_overloaded");
const TIMEOUT: Seen = Fails("upstream_timeout");
const CUT: Seen = Fails("upstream_truncated");

/// Where the vendors' words for it differ: OpenAI, Anthropic, Gemini.
const UNAVAILABLE: Seen = Each(&[ERROR, Overloads, Overloads]);
const GIVEN_UP: Seen = Each(&[ERROR, TIMEOUT, TIMEOUT]);

/// What a fault comes to for a stream, and for a plain answer.
#[rustfmt::skip]
const FAULTS: &[Row] = &[
    //        fault          stream                           plain
    Row::of("1xx",         Own,                             Own),
    Row::of("204",         BAD,                             BAD),
    Row::of("302",         BAD,                             BAD),
    Row::of("400",         Passes(400),                     Passes(400)),
    Row::of("401",         AUTH,                            AUTH),
    Row::of("402",         AUTH,                            AUTH),
    Row::of("403",         AUTH,                            AUTH),
    Row::of("404",         Seen::Unknown,                   Seen::Unknown),
    Row::of("408",         TIMEOUT,                         TIMEOUT),
    Row::of("413",         Passes(413),                     Passes(413)),
    Row::of("422",         Passes(422),                     Passes(422)),
    Row::of("429",         LIMITED,                         LIMITED),
    Row::of("429-r0",      LIMITED,                         LIMITED),
    Row::of("429-r3600",   LIMITED,                         LIMITED),
    Row::of("429-rd60",    LIMITED,                         LIMITED),
    Row::of("429-rm250",   LIMITED,                         LIMITED),
    Row::of("429-rr60",    LIMITED,                         LIMITED),
    Row::of("500",         ERROR,                           ERROR),
    Row::of("502",         ERROR,                           ERROR),
    Row::of("503",         Overloads,                       Overloads),
    Row::of("504",         GIVEN_UP,                        GIVEN_UP),
    Row::of("529",         Overloads,                       Overloads),
    Row::of("badhead",     BAD,                             BAD),
    Row::of("bigevent-1",  Own,                             Own),
    Row::of("bighead",     BAD,                             BAD),
    Row::of("drop",        Fails("upstream_disconnected"),  Fails("upstream_disconnected")),
    Row::of("dupcl",       BAD,                             BAD),
    Row::of("early",       Own,                             Own),
    Row::of("empty",       BAD,                             BAD),
    Row::of("errevent",    Theirs,                          Own),
    Row::of("error200",    ERROR,                           ERROR),
    Row::of("extra",       Own,                             Own),
    Row::of("firsterr",    UNAVAILABLE,                     ERROR),
    Row::of("gap-20",      Own,                             Own),
    Row::of("html",        BAD,                             BAD),
    Row::of("huge-1",      Own,                             Own),
    Row::of("malformed",   Own,                             BAD),
    Row::of("noend",       Breaks("upstream_truncated"),    BAD),
    Row::of("nolen",       Own,                             Own),
    Row::of("ok",          Own,                             Own),
    Row::of("reset",       Breaks("upstream_disconnected"), CUT),
    Row::of("slow-20",     Own,                             Own),
    Row::of("split",       Own,                             Own),
    Row::of("stale",       Own,                             Own),
    Row::of("truncate",    Breaks("upstream_truncated"),    CUT),
];

/// The same of faults that take their time, and the limits that end it.
#[rustfmt::skip]
const SLOW: &[Row] = &[
    Row::of("gap-60000",   TIMEOUT,                         TIMEOUT).within("request_timeout_seconds = 1"),
    Row::of("hang",        TIMEOUT,                         TIMEOUT).within("request_timeout_seconds = 1"),
    Row::of("slow-60000",  TIMEOUT,                         TIMEOUT).within("request_timeout_seconds = 1"),
    Row::of("stall",       Breaks("upstream_timeout"),      TIMEOUT).within("stream_idle_timeout_seconds = 0.2"),
];

/// Asks all cells of these rows at once, each on a gateway and with providers of its own. Gives those that do not hold.
async fn check(rows: &[Row]) -> Vec<Cell> {
    let each = || rows.iter().flat_map(|row| DIALECTS.map(|dialect| (row, dialect)));
    let cells = each().flat_map(|(row, dialect)| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(stream, has_second)| Cell {
            row: *row,
            dialect,
            stream,
            has_second,
        })
    });
    let asking = async move {
        let asked: Vec<_> = cells.map(|cell| (cell, tokio::task::spawn_local(cell.check()))).collect();
        let mut failed = Vec::new();
        for (cell, task) in asked {
            if task.await.is_err() {
                failed.push(cell);
            }
        }
        failed
    };
    LocalSet::new().run_until(asking).await
}

#[tokio::test]
async fn each_fault_is_repaired_passed_on_or_told_as_the_failure_model_has_it() {
    let mut failed = Vec::new();
    for row in FAULTS {
        failed.extend(check(&[*row]).await);
    }
    assert!(failed.is_empty(), "these cells do not hold: {failed:#?}");
}

#[tokio::test]
async fn each_fault_that_takes_its_time_is_ended_by_its_limit_and_then_repaired_or_told() {
    let failed = check(SLOW).await;
    assert!(failed.is_empty(), "these cells do not hold: {failed:#?}");
}

#[test]
fn no_fault_of_the_simulated_provider_is_left_out() {
    let name = |row: &Row| row.fault.split('-').next().unwrap_or_default().to_owned();
    let rows: BTreeSet<String> = FAULTS.iter().chain(SLOW).map(name).collect();
    for fault in berry_mock::FAULTS {
        assert!(rows.contains(fault.name), "{} has no row", fault.name);
    }
    assert!(FAULTS.is_sorted_by_key(|row| row.fault) && SLOW.is_sorted_by_key(|row| row.fault));
}
