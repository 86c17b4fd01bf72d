//! What a run is told as: a table for people, JSON for machines.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::history::{Ending, Record};
use crate::proxy::FaultCounts;
use crate::verdict::Verdict;

/// Everything that is told of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// What makes the same fault plan again.
    pub(crate) seed: u64,
    /// How long the calls went on, in seconds.
    pub(crate) seconds: f64,
    /// How many servers there were.
    pub(crate) servers: u64,
    /// How many clients there were.
    pub(crate) clients: u64,
    /// What became of the calls.
    pub(crate) calls: Calls,
    /// Calls that ended, for each second.
    pub(crate) calls_per_second: f64,
    /// How long callers waited, in milliseconds.
    pub(crate) latency_ms: Latency,
    /// What the clients did about faults.
    pub(crate) clients_did: ClientTotals,
    /// What the servers did about retries.
    pub(crate) servers_did: ServerTotals,
    /// What went wrong.
    pub(crate) faults: FaultCounts,
    /// Whether all is right.
    pub(crate) verdict: VerdictReport,
}

/// What became of the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Calls {
    /// All of them: movements and reads.
    pub(crate) all: u64,
    /// Movements that took effect, those settled later among them.
    pub(crate) acknowledged: u64,
    /// Movements that the bank refused.
    pub(crate) refused: u64,
    /// Movements that were reported as not executed.
    pub(crate) not_executed: u64,
    /// Reads that were answered.
    pub(crate) reads: u64,
    /// Reads that were not.
    pub(crate) failed_reads: u64,
    /// Movements that were unknown at first.
    pub(crate) unknown: u64,
    /// Of those: had taken effect.
    pub(crate) settled_acknowledged: u64,
    /// Of those: the bank had refused it.
    pub(crate) settled_refused: u64,
    /// Of those: had not been executed, and never will be.
    pub(crate) settled_not_executed: u64,
    /// Of those: nobody could tell.
    pub(crate) unsettled: u64,
}

/// How long callers waited, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Latency {
    /// Half of them at most this long.
    pub(crate) p50: f64,
    /// 90 % of them.
    pub(crate) p90: f64,
    /// 99 % of them.
    pub(crate) p99: f64,
    /// 99.9 % of them.
    pub(crate) p999: f64,
    /// The longest wait.
    pub(crate) max: f64,
}

/// What all clients did about faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ClientTotals {
    /// Calls that were sent again.
    pub(crate) retries: u64,
    /// Calls that moved to another server.
    pub(crate) failovers: u64,
    /// Responses that came as a re-send.
    pub(crate) resent_responses: u64,
}

/// What all servers, also those that were stopped, did about retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ServerTotals {
    /// Requests that came in, retries among them.
    pub(crate) requests: u64,
    /// Duplicates answered from a server's own table.
    pub(crate) replayed_from_table: u64,
    /// Duplicates answered from the record in the store.
    pub(crate) replayed_from_record: u64,
    /// Calls ended before they took effect, for ever.
    pub(crate) aborted: u64,
    /// Calls refused for the moment.
    pub(crate) refused: u64,
}

/// The verdict as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct VerdictReport {
    /// Whether nothing is wrong.
    pub(crate) right: bool,
    /// How many movements were checked.
    pub(crate) movements: usize,
    /// How many accounts were read back.
    pub(crate) accounts: usize,
    /// How many entries stand in their statements.
    pub(crate) entries: usize,
    /// What is on all accounts together, in cents.
    pub(crate) money_cents: i128,
    /// What is wrong, one sentence each.
    pub(crate) wrong: Vec<String>,
}

/// How many wrong movements the table names; the JSON names all.
const SHOWN_WRONG: usize = 20;

impl Calls {
    /// Counts the endings of the movements; reads are counted by whoever made them.
    pub(crate) fn count(history: &[Record], reads: u64, failed_reads: u64) -> Calls {
        let mut calls = Calls {
            all: history.len() as u64 + reads + failed_reads,
            reads,
            failed_reads,
            ..Calls::default()
        };
        for record in history {
            let asked_again = u64::from(record.asked_again > 0);
            let (ending, settled) = match record.ending {
                Ending::Acknowledged(_) => {
                    (&mut calls.acknowledged, &mut calls.settled_acknowledged)
                }
                Ending::Refused(_) => (&mut calls.refused, &mut calls.settled_refused),
                Ending::NotExecuted(_) => {
                    (&mut calls.not_executed, &mut calls.settled_not_executed)
                }
                Ending::Unsettled(_) => {
                    calls.unknown += 1;
                    calls.unsettled += 1;
                    continue;
                }
            };
            *ending += 1;
            *settled += asked_again;
            calls.unknown += asked_again;
        }
        calls
    }
}

impl Latency {
    /// The percentiles of these waits.
    pub(crate) fn of(mut waits: Vec<Duration>) -> Latency {
        waits.sort_unstable();
        let at = |share: f64| {
            // The smallest wait that this share of all does not exceed.
            let rank = (share * waits.len() as f64).ceil() as usize;
            waits.get(rank.saturating_sub(1)).map_or(0.0, |wait| wait.as_secs_f64() * 1000.0)
        };
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

impl From<&Verdict> for VerdictReport {
    fn from(verdict: &Verdict) -> VerdictReport {
        VerdictReport {
            right: verdict.is_right(),
            movements: verdict.movements,
            accounts: verdict.accounts,
            entries: verdict.entries,
            money_cents: verdict.money,
            wrong: verdict.wrong.iter().map(ToString::to_string).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::default();
        self.rows_of_calls(&mut table);
        self.rows_of_faults(&mut table);
        f.write_str(&table.text)?;
        self.verdict.fmt(f)
    }
}

impl Report {
    fn rows_of_calls(&self, table: &mut Table) {
        let calls = &self.calls;
        table.head("Calls");
        table.row("made", grouped(calls.all), "");
        table.row("acknowledged", grouped(calls.acknowledged), "took effect exactly once");
        table.row("refused by the bank", grouped(calls.refused), "changed nothing");
        table.row("not executed", grouped(calls.not_executed), "and never will be");
        table.row("reads", grouped(calls.reads), &failed(calls.failed_reads));
        table.row("unknown at first", grouped(calls.unknown), &settled(calls));
        table.head("Speed");
        table.row("calls per second", grouped(self.calls_per_second.round() as u64), "");
        let Latency { p50, p90, p99, p999, max } = self.latency_ms;
        for (name, wait) in
            [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p999), ("longest", max)]
        {
            table.row(name, format!("{wait:.1} ms"), "");
        }
    }

    fn rows_of_faults(&self, table: &mut Table) {
        let faults = &self.faults;
        table.head("What went wrong");
        table.row("messages lost", grouped(faults.messages_dropped), "");
        table.row("messages delayed", grouped(faults.messages_delayed), "");
        let cut = faults.connections_cut + faults.connections_cut_mid_message;
        let within = format!("{} within a message", grouped(faults.connections_cut_mid_message));
        table.row("connections cut", grouped(cut), &within);
        table.row("servers stopped", grouped(faults.servers_stopped), "");
        table.row("servers frozen", grouped(faults.servers_frozen), "");
        if faults.connections_unreadable > 0 {
            table.row("unreadable streams", grouped(faults.connections_unreadable), "a bug");
        }
        table.head("What was done about it");
        table.row("retries", grouped(self.clients_did.retries), "sent again");
        table.row("failovers", grouped(self.clients_did.failovers), "moved to another server");
        let ServerTotals { replayed_from_table, replayed_from_record, aborted, .. } =
            self.servers_did;
        table.row("duplicates", grouped(replayed_from_table), "answered from a server's table");
        table.row("", grouped(replayed_from_record), "answered from the record in the store");
        table.row("aborted", grouped(aborted), "ended for ever, at their deadline or cancelled");
    }
}

impl fmt::Display for VerdictReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VerdictReport { movements, accounts, entries, money_cents, .. } = self;
        let units = money_cents / 100;
        let cents = (money_cents % 100).abs();
        writeln!(f)?;
        if self.right {
            return writeln!(
                f,
                "RIGHT: {movements} movements checked against {entries} entries of {accounts} \
                 accounts.\nEach acknowledged one stands once in each account that it touched, \
                 each other one nowhere.\nNo money was made or destroyed: {units}.{cents:02} were \
                 paid in and not out, and are there."
            );
        }
        writeln!(
            f,
            "WRONG: {} of {movements} movements and {accounts} accounts are not what the callers \
             were told.",
            self.wrong.len()
        )?;
        for wrong in self.wrong.iter().take(SHOWN_WRONG) {
            writeln!(f, "  {wrong}")?;
        }
        if self.wrong.len() > SHOWN_WRONG {
            writeln!(f, "  … and {} more; --json FILE names all", self.wrong.len() - SHOWN_WRONG)?;
        }
        Ok(())
    }
}

/// A table of named numbers under headings.
#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn head(&mut self, title: &str) {
        writeln!(self.text, "\n{title}").expect("writing to a string cannot fail");
    }

    fn row(&mut self, name: &str, value: String, remark: &str) {
        let row = format!("  {name:<22}{value:>14}  {remark}");
        writeln!(self.text, "{}", row.trim_end()).expect("writing to a string cannot fail");
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn failed(reads: u64) -> String {
    if reads == 0 { String::new() } else { format!("{} more failed", grouped(reads)) }
}

fn settled(calls: &Calls) -> String {
    if calls.unknown == 0 {
        return String::new();
    }
    let mut parts = Vec::new();
    for (number, name) in [
        (calls.settled_acknowledged, "acknowledged"),
        (calls.settled_refused, "refused"),
        (calls.settled_not_executed, "not executed"),
        (calls.unsettled, "still unknown"),
    ] {
        if number > 0 {
            parts.push(format!("{} {name}", grouped(number)));
        }
    }
    format!("asked again: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Order;

    fn record(ending: Ending, asked_again: u32) -> Record {
        Record {
            reference: "r".parse().unwrap(),
            order: Order::Open { name: "a".parse().unwrap() },
            began: Duration::ZERO,
            ended: Duration::ZERO,
            asked_again,
            ending,
        }
    }

    fn report(right: bool) -> Report {
        let wrong = (0..30).map(|number| format!("r{number}: stands nowhere")).collect();
        Report {
            seed: 7,
            seconds: 12.0,
            servers: 3,
            clients: 16,
            calls: Calls { all: 1_234_567, unknown: 3, settled_refused: 3, ..Calls::default() },
            calls_per_second: 102_880.6,
            latency_ms: Latency::default(),
            clients_did: ClientTotals::default(),
            servers_did: ServerTotals::default(),
            faults: FaultCounts::default(),
            verdict: VerdictReport {
                right,
                movements: 1000,
                accounts: 64,
                entries: 1500,
                money_cents: 123_405,
                wrong: if right { Vec::new() } else { wrong },
            },
        }
    }

    #[test]
    fn percentiles_are_those_of_the_waits() {
        let waits = (1..=1000).rev().map(Duration::from_millis).collect();
        let Latency { p50, p90, p99, p999, max } = Latency::of(waits);
        assert_eq!([p50, p90, p99, p999, max], [500.0, 900.0, 990.0, 999.0, 1000.0]);
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    #[test]
    fn unknown_calls_are_counted_by_what_they_turned_out_to_be() {
        let receipt = bank_business::Receipt {
            reference: "r".parse().unwrap(),
            balance: bank_business::Balance::ZERO,
        };
        let history = [
            record(Ending::Acknowledged(receipt.clone()), 0),
            record(Ending::Acknowledged(receipt), 2),
            record(Ending::NotExecuted(String::new()), 1),
            record(Ending::Refused(String::new()), 0),
            record(Ending::Unsettled(String::new()), 9),
        ];
        let calls = Calls::count(&history, 5, 1);
        assert_eq!((calls.all, calls.acknowledged, calls.refused), (11, 2, 1));
        assert_eq!((calls.unknown, calls.settled_acknowledged), (3, 1));
        assert_eq!((calls.settled_not_executed, calls.unsettled), (1, 1));
    }

    #[test]
    fn the_table_is_for_people() {
        let text = report(true).to_string();
        assert!(text.contains("made                       1,234,567"), "{text}");
        assert!(text.contains("asked again: 3 refused"), "{text}");
        assert!(text.contains("RIGHT: 1000 movements"), "{text}");
        assert!(text.contains("1234.05"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_wrong_verdict_names_the_references() {
        let text = report(false).to_string();
        assert!(text.contains("WRONG") && text.contains("r0: stands nowhere"), "{text}");
        assert!(text.contains("… and 10 more"), "{text}");
        let json = serde_json::to_value(report(false)).unwrap();
        assert_eq!(json["verdict"]["wrong"].as_array().unwrap().len(), 30);
        assert_eq!(json["verdict"]["right"], false);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
    }
}
