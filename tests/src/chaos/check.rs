//! What must be true of a history and of the statements that are found in the end.
//!
//! A statement lists every call that has changed its account, in order. So the order of all writes on
//! each account is known, and of each read the write that it has seen, and it can be said exactly
//! whether there is one order of all calls that explains everything: there is, if and only if *next
//! on the same account*, *seen by*, *not yet seen by* and *ended before the other began* form no
//! circle.

use std::collections::{BTreeMap, HashMap};

use bank_business::{Entry, Movement};

use super::history::{Ask, History, Made, Told};

/// The statement of each account, oldest entry first.
pub type Statements = Vec<Vec<Entry>>;

/// All that is wrong, one line each; nothing, if all is right.
#[must_use]
pub fn check(history: &History, statements: &Statements) -> Vec<String> {
    let mut wrong = sums(statements);
    wrong.extend(effects(history, statements));
    if wrong.is_empty() {
        wrong.extend(order(history, statements));
    }
    wrong
}

/// Each entry's balance follows from the one before it, and what one account has paid to another has
/// arrived there.
fn sums(statements: &Statements) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut between = BTreeMap::<&str, i64>::new();
    for (account, statement) in statements.iter().enumerate() {
        let mut balance = 0;
        for entry in statement {
            balance += entry.movement.change();
            if i64::try_from(entry.balance.cents()) != Ok(balance) {
                let (reference, said) = (&entry.reference, entry.balance);
                wrong.push(format!("account {account} at {reference}: {said} is no sum"));
                break;
            }
            if matches!(entry.movement, Movement::TransferIn { .. } | Movement::TransferOut { .. })
            {
                *between.entry(entry.reference.as_str()).or_default() += entry.movement.change();
            }
        }
    }
    for (reference, sum) in between {
        if sum != 0 {
            wrong.push(format!("{reference} made or destroyed {sum} cents"));
        }
    }
    wrong
}

/// Each call stands in each account that it changes as often as its caller was told.
fn effects(history: &History, statements: &Statements) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut counts = HashMap::<(&str, usize), usize>::new();
    for (account, statement) in statements.iter().enumerate() {
        for entry in statement.iter().filter(|entry| entry.movement != Movement::Opened) {
            let reference = entry.reference.as_str();
            *counts.entry((reference, account)).or_default() += 1;
            let is_its_own = history.call(reference).is_some_and(|made| {
                made.ask.changes().contains(&account) && amount_of(made) == entry.movement.change()
                    || is_payee(made, account, entry)
            });
            if !is_its_own {
                wrong.push(format!("{reference} stands in account {account}: nobody asked that"));
            }
        }
    }
    for made in history.calls() {
        let stands: Vec<usize> = made
            .ask
            .changes()
            .iter()
            .map(|account| counts.get(&(made.call.as_str(), *account)).copied().unwrap_or(0))
            .collect();
        let all = |times: usize| stands.iter().all(|count| *count == times);
        let right = match made.told {
            Told::Done(_) => all(1),
            Told::No => all(0),
            Told::Unknown => all(0) || all(1),
            Told::Saw(_) => true,
        };
        if !right {
            let (call, told) = (&made.call, &made.told);
            wrong.push(format!("{call} was told {told:?} and stands {stands:?} times"));
        }
        if let (Ask::Read(account), Told::Saw(Some(seen))) = (&made.ask, &made.told)
            && !statements.get(*account).is_some_and(|all| has_entry(all, seen))
        {
            wrong.push(format!("{} saw {seen}, which is lost", made.call));
        }
        if let Told::Done(balance) = made.told
            && let Some(entry) = entry_of(made, statements)
            && entry.balance.cents() != balance
        {
            let (call, stands) = (&made.call, entry.balance);
            wrong.push(format!("{call} was told the balance {balance}, there stands {stands}"));
        }
    }
    wrong
}

fn has_entry(statement: &[Entry], reference: &str) -> bool {
    statement.iter().any(|entry| entry.reference.as_str() == reference)
}

/// By how many cents a call changes its first account.
fn amount_of(made: &Made) -> i64 {
    let cents = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    match made.ask {
        Ask::Deposit(_, amount) => cents(amount),
        Ask::Withdraw(_, amount) | Ask::Transfer(_, _, amount) => -cents(amount),
        Ask::Read(_) => 0,
    }
}

fn is_payee(made: &Made, account: usize, entry: &Entry) -> bool {
    matches!(made.ask, Ask::Transfer(_, to, _) if to == account)
        && entry.movement.change() == -amount_of(made)
}

/// The entry that a call's receipt speaks of.
fn entry_of<'a>(made: &Made, statements: &'a Statements) -> Option<&'a Entry> {
    let account = *made.ask.changes().first()?;
    statements.get(account)?.iter().find(|entry| entry.reference.as_str() == made.call)
}

/// Whether there is one order that explains all.
fn order(history: &History, statements: &Statements) -> Vec<String> {
    let calls: Vec<&Made> = history.calls().filter(|made| took_part(made, statements)).collect();
    let number: HashMap<&str, usize> =
        calls.iter().enumerate().map(|(number, made)| (made.call.as_str(), number)).collect();
    let mut graph =
        Graph { names: calls.iter().map(|made| made.call.clone()).collect(), after: Vec::new() };
    graph.after.resize(calls.len(), Vec::new());
    let mut place = HashMap::new();
    for (account, statement) in statements.iter().enumerate() {
        // What opened an account was there before all calls.
        let written = statement.iter().filter_map(|entry| number.get(entry.reference.as_str()));
        let written: Vec<usize> = written.copied().collect();
        for pair in written.windows(2) {
            graph.add(pair[0], pair[1]);
        }
        for (index, call) in written.iter().enumerate() {
            place.insert((account, calls[*call].call.as_str()), index);
        }
        for (reader, made) in calls.iter().enumerate() {
            let (Ask::Read(read), Told::Saw(seen)) = (&made.ask, &made.told) else { continue };
            if *read != account {
                continue;
            }
            let seen = seen.as_deref().and_then(|seen| place.get(&(account, seen)));
            if let Some(seen) = seen {
                graph.add(written[*seen], reader);
            }
            if let Some(next) = written.get(seen.map_or(0, |seen| seen + 1)) {
                graph.add(reader, *next);
            }
        }
    }
    add_real_time(&mut graph, &calls);
    graph.circle().map(|circle| format!("no order explains {circle}")).into_iter().collect()
}

/// Whether a call has a place in the order: it took effect, or has read.
fn took_part(made: &Made, statements: &Statements) -> bool {
    match made.told {
        Told::Done(_) | Told::Saw(_) => true,
        Told::No => false,
        Told::Unknown => entry_of(made, statements).is_some(),
    }
}

/// A call that ended before another began comes before it. One node stands for each end, in the order
/// of time, so that each call needs two edges instead of one for each later call.
fn add_real_time(graph: &mut Graph, calls: &[&Made]) {
    let mut ends: Vec<(u64, usize)> =
        calls.iter().enumerate().filter_map(|(number, made)| Some((made.end?, number))).collect();
    ends.sort_unstable();
    let first = graph.names.len();
    for (at, (_, call)) in ends.iter().enumerate() {
        graph.names.push(String::new());
        graph.after.push(Vec::new());
        graph.add(*call, first + at);
        if at > 0 {
            graph.add(first + at - 1, first + at);
        }
    }
    for (number, made) in calls.iter().enumerate() {
        let before = ends.partition_point(|(end, _)| *end < made.begin);
        if before > 0 {
            graph.add(first + before - 1, number);
        }
    }
}

/// What must come after what.
struct Graph {
    /// Empty for those that only stand for a moment.
    names: Vec<String>,
    after: Vec<Vec<usize>>,
}

impl Graph {
    fn add(&mut self, before: usize, after: usize) {
        self.after[before].push(after);
    }

    /// Calls that would have to come before themselves, if there are any.
    fn circle(&self) -> Option<String> {
        let mut waits_for = vec![0_usize; self.after.len()];
        self.after.iter().flatten().for_each(|after| waits_for[*after] += 1);
        let mut free: Vec<usize> =
            (0..waits_for.len()).filter(|node| waits_for[*node] == 0).collect();
        let mut placed = 0;
        while let Some(node) = free.pop() {
            placed += 1;
            for after in &self.after[node] {
                waits_for[*after] -= 1;
                if waits_for[*after] == 0 {
                    free.push(*after);
                }
            }
        }
        if placed == waits_for.len() {
            return None;
        }
        // From what was never free, backwards to what comes before it, one must come round.
        let stuck = |node: &usize| waits_for[*node] > 0;
        let before = |node: usize| {
            (0..self.after.len()).find(|from| stuck(from) && self.after[*from].contains(&node))
        };
        let mut path = vec![(0..waits_for.len()).find(stuck)?];
        loop {
            let next = before(*path.last()?)?;
            if let Some(start) = path.iter().position(|node| *node == next) {
                let circle = path[start..].iter().rev().map(|node| self.names[*node].as_str());
                let named: Vec<&str> = circle.filter(|name| !name.is_empty()).collect();
                return Some(named.join(", before "));
            }
            path.push(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use bank_business::{Amount, Balance};

    use super::super::history::Line;
    use super::*;

    struct Scene {
        history: History,
        statements: Statements,
    }

    /// Two accounts, each opened with 100.00 by a deposit that is over before all else.
    fn scene() -> Scene {
        let mut scene =
            Scene { history: History::default(), statements: vec![Vec::new(), Vec::new()] };
        for account in [0, 1] {
            let call = format!("first-{account}");
            scene.call(&call, Ask::Deposit(account, 10_000), 0, 1, Told::Done(10_000));
            scene.entry(account, &call, Movement::Deposit { amount: cents(10_000) }, 10_000);
        }
        scene
    }

    fn cents(cents: u64) -> Amount {
        Amount::from_cents(cents).unwrap()
    }

    impl Scene {
        fn call(&mut self, call: &str, ask: Ask, at: u64, end: u64, told: Told) {
            let call = call.to_owned();
            let lines =
                [Line::Begin { call: call.clone(), at, ask }, Line::End { call, at: end, told }];
            for line in lines {
                self.history.take(&serde_json::to_string(&line).unwrap()).unwrap();
            }
        }

        fn entry(&mut self, account: usize, call: &str, movement: Movement, balance: u64) {
            let balance = Balance::from_cents(balance).unwrap();
            let reference = call.parse().unwrap();
            self.statements[account].push(Entry { reference, movement, balance });
        }

        fn withdrawal(&mut self, call: &str, at: u64, end: u64, balance: u64) {
            self.call(call, Ask::Withdraw(0, 100), at, end, Told::Done(balance));
            self.entry(0, call, Movement::Withdrawal { amount: cents(100) }, balance);
        }

        fn wrong(&self) -> String {
            check(&self.history, &self.statements).join("; ")
        }
    }

    #[test]
    fn what_is_right_is_right() {
        let mut scene = scene();
        scene.withdrawal("a", 10, 20, 9_900);
        scene.withdrawal("b", 15, 30, 9_800);
        scene.call("r", Ask::Read(0), 12, 40, Told::Saw(Some("a".to_owned())));
        scene.call("lost", Ask::Withdraw(1, 5), 12, 40, Told::Unknown);
        scene.call("no", Ask::Transfer(0, 1, 1), 12, 40, Told::No);
        assert_eq!(scene.wrong(), "");
    }

    #[test]
    fn a_call_that_stands_twice_is_seen() {
        let mut scene = scene();
        scene.withdrawal("a", 10, 20, 9_900);
        scene.entry(0, "a", Movement::Withdrawal { amount: cents(100) }, 9_800);
        assert!(scene.wrong().contains("[2] times"), "{}", scene.wrong());
    }

    #[test]
    fn a_lost_and_an_unexpected_call_are_seen() {
        let mut scene = scene();
        scene.call("lost", Ask::Withdraw(0, 100), 10, 20, Told::Done(9_900));
        scene.call("no", Ask::Withdraw(1, 100), 10, 20, Told::No);
        scene.entry(1, "no", Movement::Withdrawal { amount: cents(100) }, 9_900);
        let wrong = scene.wrong();
        assert!(
            wrong.contains("lost was told Done") && wrong.contains("no was told No"),
            "{wrong}"
        );
    }

    #[test]
    fn one_leg_only_is_seen() {
        let mut scene = scene();
        scene.call("half", Ask::Transfer(0, 1, 100), 10, 20, Told::Unknown);
        let to = "b".parse().unwrap();
        scene.entry(0, "half", Movement::TransferOut { to, amount: cents(100) }, 9_900);
        assert!(scene.wrong().contains("half made or destroyed -100"), "{}", scene.wrong());
    }

    #[test]
    fn an_entry_that_nobody_asked_for_is_seen() {
        let mut scene = scene();
        scene.call("a", Ask::Withdraw(0, 100), 10, 20, Told::Unknown);
        scene.entry(0, "a", Movement::Withdrawal { amount: cents(200) }, 9_800);
        assert!(scene.wrong().contains("nobody asked"), "{}", scene.wrong());
    }

    #[test]
    fn an_order_against_time_is_seen() {
        let mut scene = scene();
        scene.call("late", Ask::Withdraw(0, 100), 30, 40, Told::Done(9_900));
        scene.entry(0, "late", Movement::Withdrawal { amount: cents(100) }, 9_900);
        scene.withdrawal("early", 10, 20, 9_800);
        let wrong = scene.wrong();
        assert!(wrong.contains("late") && wrong.contains("early"), "{wrong}");
    }

    #[test]
    fn a_write_that_was_read_and_lost_is_seen() {
        let mut scene = scene();
        scene.call("lost", Ask::Withdraw(0, 100), 10, 20, Told::Unknown);
        scene.call("r", Ask::Read(0), 30, 40, Told::Saw(Some("lost".to_owned())));
        assert!(scene.wrong().contains("saw lost"), "{}", scene.wrong());
    }

    #[test]
    fn a_stale_read_is_seen() {
        let mut scene = scene();
        scene.withdrawal("a", 10, 20, 9_900);
        scene.call("r", Ask::Read(0), 30, 40, Told::Saw(Some("first-0".to_owned())));
        assert!(scene.wrong().contains('r'), "{}", scene.wrong());
    }

    /// Each read sees the other account's write and misses its own: no order has both.
    #[test]
    fn two_reads_that_contradict_each_other_are_seen() {
        let mut scene = scene();
        for (account, call) in [(0, "x"), (1, "y")] {
            scene.call(call, Ask::Withdraw(account, 100), 10, 90, Told::Done(9_900));
            scene.entry(account, call, Movement::Withdrawal { amount: cents(100) }, 9_900);
        }
        let first = |account: usize| Told::Saw(Some(format!("first-{account}")));
        scene.call("sees-x", Ask::Read(0), 11, 12, Told::Saw(Some("x".to_owned())));
        scene.call("misses-y", Ask::Read(1), 13, 14, first(1));
        assert_eq!(scene.wrong(), "", "y may come later");
        scene.call("sees-y", Ask::Read(1), 11, 12, Told::Saw(Some("y".to_owned())));
        assert!(scene.wrong().contains("no order explains"), "{}", scene.wrong());
    }
}
