//! That what is looked for in a client with a journal could be missed: each promise is broken where
//! the rule is left out that keeps it; and that what comes too late is rightly forgotten.

use std::collections::HashSet;

use super::super::fingerprint::fingerprint;
use super::world::{Call, Told};
use super::*;

fn small() -> CallsConfig {
    *CONFIGS.iter().find(|config| config.name == "journal").expect("there is one of this name")
}

/// All states, once.
fn for_each(model: &CallsConfig, mut look: impl FnMut(&World)) {
    let mut open = model.init_states();
    let mut known: HashSet<u64> = open.iter().map(fingerprint).collect();
    while let Some(world) = open.pop() {
        look(&world);
        let mut actions = Vec::new();
        model.actions(&world, &mut actions);
        let next = actions.into_iter().filter_map(|action| model.next_state(&world, action));
        open.extend(next.filter(|next| known.insert(fingerprint(next))));
    }
}

fn is_ever(bug: Option<Bug>, seen: impl Fn(&World) -> bool) -> bool {
    let mut is_seen = false;
    for_each(&CallsConfig { bug, ..small() }, |world| is_seen |= seen(world));
    is_seen
}

type Holds = fn(&World) -> bool;

#[test]
fn each_promise_is_broken_by_its_bug_and_kept_without() {
    let rules: [(Bug, Holds); 5] = [
        (Bug::SentBeforeWrittenDown, World::sends_what_is_journalled),
        (Bug::ToldBeforeWrittenDown, World::acknowledges_what_is_journalled),
        (Bug::ToldBeforeWrittenDown, World::all_lives_are_told_the_same),
        (Bug::AttemptsStartAnew, World::attempts_are_above_earlier_lives),
        (Bug::NumbersStartAnew, World::numbers_are_used_once),
    ];
    for (bug, holds) in rules {
        assert!(is_ever(Some(bug), |world| !holds(world)), "{bug:?}");
        assert!(!is_ever(None, |world| !holds(world)), "{bug:?}");
    }
}

/// What was acknowledged too early has no record any more when the next life asks for it.
#[test]
fn who_acknowledges_before_it_has_written_is_stale_in_its_next_life() {
    let is_stale = |call: &Call| call.ending == Some(Told::Stale) || call.told == Some(Told::Stale);
    let is_seen = |world: &World| world.calls.iter().any(is_stale);
    assert!(is_ever(Some(Bug::ToldBeforeWrittenDown), is_seen));
    assert!(!is_ever(None, is_seen));
}

/// What earlier lives have under way is forgotten once it is fenced; nothing is lost by that.
#[test]
fn what_is_fenced_shows_nowhere() {
    let seen = |merges: bool| {
        let (mut views, mut states) = (HashSet::new(), 0);
        for_each(&CallsConfig { merges, ..small() }, |world| {
            let calls = world.calls.map(|call| (call.name, call.told, call.ending, call.sent));
            views.insert(fingerprint(&(calls, world.journal, world.store)));
            states += 1;
        });
        (views, states)
    };
    let ((few, merged), (many, unmerged)) = (seen(true), seen(false));
    assert_eq!(few, many);
    assert!(merged < unmerged, "{merged} of {unmerged} states");
}
