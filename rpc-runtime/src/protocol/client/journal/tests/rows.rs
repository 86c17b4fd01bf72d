//! Rows that do not fit.

use super::super::super::Restored;
use super::super::row::{self, BodyRow, CallRow, HeadRow, OutcomeRow, SessionRow};
use super::{CLIENT, Rows, SECRET, schema};
use crate::id::{Incarnation, SessionId};
use crate::journal::{Change, JournalError};

#[test]
fn rows_that_do_not_fit_are_refused_and_said_to_be() {
    let session = Some(SessionRow::new(
        SessionId { client: CLIENT, incarnation: Incarnation(u32::MAX) },
        SECRET,
    ));
    let head = |session, numbers| {
        let service = "Till".to_owned();
        HeadRow { format: row::FORMAT, service, session, numbers }
    };
    let value = |change: Change| (change.key, change.value.unwrap());
    let open = |method: &str, name: Option<&str>| CallRow {
        method: method.to_owned(),
        fingerprint: schema().methods[0].fingerprint.0,
        name: name.map(str::to_owned),
        body: BodyRow::Open { arguments: Vec::new(), made_at: 0, deadline: 0, attempts: 1 },
    };
    let good = value(row::put(0, &head(None, 1)));
    let other = HeadRow { service: "Bank".to_owned(), ..head(None, 1) };
    let newer = HeadRow { format: 2, ..head(None, 1) };
    let cases: Vec<(Rows, &str)> = vec![
        (vec![value(row::put(1, &open("pay", None)))], "there are calls, and no client"),
        (vec![(0, Vec::new())], "row 0"),
        (vec![(0, vec![1])], "row 0"),
        (vec![value(row::put(0, &newer))], "format 2"),
        (vec![value(row::put(0, &other))], "the service Bank, not Till"),
        (vec![value(row::put(0, &head(session, 1)))], "no incarnation is left"),
        (vec![good.clone(), (4, vec![9])], "row 4"),
        (vec![good.clone(), value(row::put(4, &open("look", None)))], "method look"),
        (
            vec![
                good.clone(),
                value(row::put(1, &open("pay", Some("x")))),
                value(row::put(2, &open("pay", Some("x")))),
            ],
            "two calls are named",
        ),
        (vec![good.clone(), value(row::put(u64::MAX, &open("pay", None)))], "no number is left"),
        (
            vec![
                good.clone(),
                value(row::put(1, &open("pay", None))),
                value(row::put(1 << 40, &open("pay", None))),
            ],
            "belong to one client",
        ),
    ];
    for (rows, expected) in cases {
        let error = Restored::from_rows(rows, &schema()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}, not {expected}");
    }
    let bounds = [
        (1, 1 << 20, true),
        (1, (1 << 20) + 1, false),
        (1 << 40, 1 << 40, true),
        ((1 << 40) + 1, (1 << 40) + (1 << 20), true),
        (u64::MAX / 2 - 1, u64::MAX / 2 - 1, true),
        (u64::MAX / 2, u64::MAX / 2, false),
    ];
    for (first, last, fits) in bounds {
        let calls = [first, last].map(|key| value(row::put(key, &open("pay", None))));
        let rows = [good.clone()].into_iter().chain(calls).collect();
        assert_eq!(Restored::from_rows(rows, &schema()).is_ok(), fits, "{first} to {last}");
    }
    // A call that has ended needs no method any more: nobody can ask for it in vain.
    let body = BodyRow::Ended {
        client: 7,
        arguments: 0,
        attempts: 1,
        outcome: OutcomeRow::Success,
        payload: Vec::new(),
    };
    let ended = CallRow { body, ..open("gone", Some("x")) };
    let rows = vec![good, value(row::put(4, &ended))];
    assert!(Restored::from_rows(rows, &schema()).is_ok());
    assert!(matches!(
        Restored::from_rows(vec![(0, vec![200])], &schema()),
        Err(JournalError::Damaged { .. })
    ));
}
