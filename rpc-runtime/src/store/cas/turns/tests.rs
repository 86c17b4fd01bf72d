use super::*;
use crate::id::{ClientId, Seq};

fn claim(born: u64) -> Claim {
    Claim {
        call: CallId { client: ClientId(born), seq: Seq::FIRST },
        attempt: Attempt::FIRST,
        born: WallTime(born),
        anchor: DocKey::stored("a:1"),
    }
}

fn keys(names: &[&str]) -> Vec<DocKey> {
    names.iter().map(|name| DocKey::stored(name)).collect()
}

fn has_turn(turns: &Turns, turn: &Turn<'_>) -> bool {
    turn.ticket.is_some_and(|ticket| turns.lock().waits_until(ticket).is_none())
}

fn is_empty(turns: &Turns) -> bool {
    let table = turns.lock();
    table.queues.is_empty() && table.tickets.is_empty() && table.kept.is_empty()
}

#[tokio::test(start_paused = true)]
async fn the_oldest_goes_first_and_nothing_is_left() {
    let turns = Turns::default();
    let first = turns.enter(&claim(5), keys(&["a:1", "a:2"]));
    assert!(!first.wait().await, "nobody is there");
    let young = turns.enter(&claim(9), keys(&["a:2", "a:3"]));
    let old = turns.enter(&claim(1), keys(&["a:3", "a:1"]));
    let beside = turns.enter(&claim(7), keys(&["a:4"]));
    assert!(has_turn(&turns, &beside) && !has_turn(&turns, &young) && !has_turn(&turns, &old));
    drop(first);
    assert!(has_turn(&turns, &old) && !has_turn(&turns, &young), "they share a:3");
    assert!(old.wait().await, "what it has read may have been changed");
    old.keep(&claim(1), 0);
    let old = turns.enter(&claim(1), keys(&["a:3", "a:1"]));
    assert!(!old.wait().await, "it has started over");
    drop(old);
    assert!(has_turn(&turns, &young));
    drop((young, beside));
    assert!(is_empty(&turns));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_lets_the_next_go() {
    let turns = Turns::default();
    let first = turns.enter(&claim(1), keys(&["a:1"]));
    let waiting = turns.enter(&claim(2), keys(&["a:1", "a:2"]));
    let behind = turns.enter(&claim(3), keys(&["a:2"]));
    assert!(!has_turn(&turns, &behind), "an older one wants a:2");
    drop(waiting);
    assert!(has_turn(&turns, &behind));
    drop((first, behind));
    assert!(is_empty(&turns));
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_kept_for_its_call_and_not_for_ever() {
    let turns = Turns::default();
    let (mine, other) = (claim(5), claim(1));
    turns.enter(&mine, keys(&["a:1", "a:2"])).keep(&mine, 0);
    let older = turns.enter(&other, keys(&["a:1"]));
    assert!(!has_turn(&turns, &older));
    let again = turns.enter(&mine, keys(&["a:2", "a:1"]));
    assert!(has_turn(&turns, &again), "it came back in time");
    again.keep(&mine, 0);
    let began = Instant::now();
    assert!(older.wait().await);
    assert!(began.elapsed() <= MAX_KEPT, "it was passed");
    drop(older);
    let late = turns.enter(&mine, keys(&["a:1", "a:2"]));
    assert!(has_turn(&turns, &late));
    drop(late);
    assert!(is_empty(&turns));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_holds_nobody_up() {
    let turns = Turns::default();
    let lost = claim(5);
    turns.enter(&lost, keys(&["a:1", "a:2"])).keep(&lost, 8);
    let next = turns.enter(&claim(9), keys(&["a:2"]));
    assert!(!has_turn(&turns, &next));
    turns.give_up(lost.call, lost.attempt);
    let began = Instant::now();
    assert!(!next.wait().await, "nothing was changed: what it has read holds");
    assert_eq!(began.elapsed(), Duration::ZERO);
    turns.give_up(lost.call, lost.attempt);
    drop(next);
    assert!(is_empty(&turns));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hangs_is_passed() {
    let turns = Turns::default();
    let hangs = turns.enter(&claim(1), keys(&["a:1"]));
    let next = turns.enter(&claim(2), keys(&["a:1"]));
    let began = Instant::now();
    assert!(next.wait().await);
    assert_eq!(whole(began.elapsed()), MAX_TURN, "no sooner and no later");
    drop((hangs, next));
    assert!(is_empty(&turns));
}

#[tokio::test(start_paused = true)]
async fn stages_that_become_bodies_hold_up_the_line_but_no_one_else() {
    let turns = Turns::default();
    let anchor = DocKey::stored("a:1");
    let run = turns.enter(&claim(1), keys(&["a:1", "a:2"]));
    let waiting = turns.enter(&claim(2), keys(&["a:1", "a:2"]));
    let rest = run.end_on(&anchor).expect("it had the turn");
    assert!(!has_turn(&turns, &waiting), "its run would meet the stage");
    turns.end(rest);
    assert!(has_turn(&turns, &waiting));
    let rest = waiting.end_on(&anchor).expect("it has the turn");
    let fresh = turns.enter(&claim(3), keys(&["a:2"]));
    assert!(has_turn(&turns, &fresh), "it has read past the stage");
    turns.end(rest);
    drop(fresh);
    assert!(is_empty(&turns));
}

/// Without what a timer comes late by.
fn whole(elapsed: Duration) -> Duration {
    Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)).min(elapsed)
}

/// How long somebody else waits for the turn that was kept for this claim.
async fn kept_for(turns: &Turns, mine: &Claim, losses: u32) -> Duration {
    turns.enter(mine, keys(&["a:1"])).keep(mine, losses);
    let other = turns.enter(&claim(9), keys(&["a:1"]));
    let began = Instant::now();
    other.wait().await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_kept_longer_with_each_loss_up_to_a_bound() {
    for (losses, millis) in [(0, 40), (1, 80), (2, 160), (3, 320), (4, 500), (99, 500)] {
        let kept = kept_for(&Turns::default(), &claim(5), losses).await;
        let expected = Duration::from_millis(millis);
        assert!(kept.abs_diff(expected) <= Duration::from_millis(1), "{losses}: {kept:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_kept_as_long_as_calls_take_to_come_back() {
    let turns = Turns::default();
    let mine = claim(5);
    let mut turn = turns.enter(&mine, keys(&["a:1"]));
    for _ in 0..2 {
        turn.keep(&mine, 0);
        turn = turns.enter(&mine, keys(&["a:1"]));
    }
    drop(turn);
    // Twice an eighth of the average is what just now was.
    let kept = kept_for(&turns, &mine, 0).await;
    let expected = FIRST_COMES_BACK * KEPT_FACTOR * 49 / 64;
    assert!(kept.abs_diff(expected) <= Duration::from_millis(1), "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_kept_lasts_as_long_as_any_other() {
    let turns = Turns::default();
    let mine = claim(5);
    turns.enter(&mine, keys(&["a:1"])).keep(&mine, 0);
    let again = turns.enter(&mine, keys(&["a:1"]));
    let other = turns.enter(&claim(9), keys(&["a:1"]));
    let began = Instant::now();
    assert!(other.wait().await);
    assert_eq!(whole(began.elapsed()), MAX_TURN);
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_room_goes_without_a_turn() {
    let turns = Turns::default();
    let one = |number: usize| turns.enter(&claim(1), keys(&[&format!("a:{number}")]));
    let held: Vec<_> = (0..MAX_TICKETS).map(one).collect();
    assert!(held.iter().all(|turn| turn.ticket.is_some()));
    let without = one(MAX_TICKETS);
    assert!(without.ticket.is_none() && !without.wait().await);
    tokio::time::advance(MAX_TURN - Duration::from_millis(1)).await;
    assert!(one(MAX_TICKETS).ticket.is_none(), "each of them may still be at it");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(one(MAX_TICKETS).ticket.is_some(), "they were passed");
    drop(held);
    assert!(is_empty(&turns));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_runs_go_without_until_turns_have_lasted_too_long() {
    let turns = Turns::default();
    let held: Vec<_> = (0..MAX_TICKETS as u64)
        .map(|number| turns.enter(&claim(number), keys(&[&format!("a:{number}")])))
        .collect();
    assert!(held.iter().all(|turn| turn.ticket.is_some()));
    let without = turns.enter(&claim(1 << 40), keys(&["b:1"]));
    assert!(without.ticket.is_none() && !without.wait().await, "it goes on at once");
    tokio::time::advance(MAX_TURN).await;
    let with = turns.enter(&claim(1 << 41), keys(&["b:1"]));
    assert!(with.ticket.is_some(), "the turns that have lasted too long are over");
    drop((held, without, with));
    assert!(is_empty(&turns));
}

#[tokio::test(start_paused = true)]
async fn a_long_turn_is_not_taken_from_who_is_in_nobody_s_way() {
    let turns = Turns::default();
    let long = turns.enter(&claim(1), keys(&["a:1"]));
    tokio::time::advance(MAX_TURN * 2).await;
    let elsewhere = turns.enter(&claim(2), keys(&["a:2"]));
    assert!(!long.wait().await && !elsewhere.wait().await);
}
