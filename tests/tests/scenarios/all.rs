//! All scenarios, for whoever runs them otherwise than as tests.

use super::{
    ack_up_to_the_gap, both_servers_at_once, business_error_saw_one_state, business_never_answers,
    business_slow, caller_drops_the_call, client_crash_journalled_client,
    client_crash_volatile_client, connection_cut_anywhere, determinism, duplicate_response,
    failover_after_the_effect, frozen_server, graceful_shutdown_moves_clients,
    hedging_executes_once, id_seen_again_after_its_ack, lone_ack_only_when_idle, lost_twice,
    no_error, no_server_in_reach, one_id_one_set_of_arguments, outcome_of_a_retry_is_recorded,
    read_asked_again, refusal_speaks_only_for_its_attempt, request_lost, response_lost,
    responses_reach_their_call, retry_budget, server_crash_at_any_step, session_is_used_up, storm,
    suspect_probe_return, tentative_only_from_the_latest_attempt,
    tentative_recorded_for_a_later_attempt, unknown_settled_by_asking_again, unnameable_anchor,
    window_and_backpressure, zombie_server,
};

/// By name.
pub(crate) const ALL: &[(&str, fn())] = &[
    ("ack_up_to_the_gap", ack_up_to_the_gap::ack_up_to_the_gap),
    ("both_servers_at_once", both_servers_at_once::both_servers_at_once),
    ("business_error_saw_one_state", business_error_saw_one_state::business_error_saw_one_state),
    ("business_never_answers", business_never_answers::business_never_answers),
    (
        "business_never_answers::business_answered_just_before",
        business_never_answers::business_answered_just_before,
    ),
    ("business_slow", business_slow::business_slow),
    ("caller_drops_the_call", caller_drops_the_call::caller_drops_the_call),
    (
        "caller_drops_the_call::a_dropped_call_stays_open_until_it_is_settled",
        caller_drops_the_call::a_dropped_call_stays_open_until_it_is_settled,
    ),
    (
        "caller_drops_the_call::a_dropped_answer_frees_its_place",
        caller_drops_the_call::a_dropped_answer_frees_its_place,
    ),
    (
        "client_crash_journalled_client",
        client_crash_journalled_client::client_crash_journalled_client,
    ),
    (
        "client_crash_journalled_client::an_earlier_life_is_turned_away",
        client_crash_journalled_client::an_earlier_life_is_turned_away,
    ),
    (
        "client_crash_journalled_client::a_call_keeps_the_id_of_its_session",
        client_crash_journalled_client::a_call_keeps_the_id_of_its_session,
    ),
    (
        "client_crash_journalled_client::the_next_life_is_told_what_the_earlier_was_not",
        client_crash_journalled_client::the_next_life_is_told_what_the_earlier_was_not,
    ),
    (
        "client_crash_journalled_client::what_is_not_written_down_is_not_sent",
        client_crash_journalled_client::what_is_not_written_down_is_not_sent,
    ),
    (
        "client_crash_journalled_client::what_may_be_forgotten_is_not_told",
        client_crash_journalled_client::what_may_be_forgotten_is_not_told,
    ),
    (
        "client_crash_journalled_client::the_next_life_has_numbers_of_its_own",
        client_crash_journalled_client::the_next_life_has_numbers_of_its_own,
    ),
    (
        "client_crash_journalled_client::a_client_that_is_closed_leaves_nothing_open",
        client_crash_journalled_client::a_client_that_is_closed_leaves_nothing_open,
    ),
    ("client_crash_volatile_client", client_crash_volatile_client::client_crash_volatile_client),
    ("connection_cut_anywhere", connection_cut_anywhere::connection_cut_anywhere),
    ("determinism", determinism::determinism),
    ("duplicate_response", duplicate_response::duplicate_response),
    ("failover_after_the_effect", failover_after_the_effect::failover_after_the_effect),
    ("frozen_server", frozen_server::frozen_server),
    (
        "graceful_shutdown_moves_clients",
        graceful_shutdown_moves_clients::graceful_shutdown_moves_clients,
    ),
    (
        "graceful_shutdown_moves_clients::graceful_shutdown_has_a_limit",
        graceful_shutdown_moves_clients::graceful_shutdown_has_a_limit,
    ),
    ("hedging_executes_once", hedging_executes_once::hedging_executes_once),
    ("id_seen_again_after_its_ack", id_seen_again_after_its_ack::id_seen_again_after_its_ack),
    (
        "id_seen_again_after_its_ack::id_seen_again_while_its_record_is_kept",
        id_seen_again_after_its_ack::id_seen_again_while_its_record_is_kept,
    ),
    ("lone_ack_only_when_idle", lone_ack_only_when_idle::lone_ack_only_when_idle),
    ("lost_twice", lost_twice::lost_twice),
    ("no_error", no_error::no_error),
    ("no_server_in_reach", no_server_in_reach::no_server_in_reach),
    ("one_id_one_set_of_arguments", one_id_one_set_of_arguments::one_id_one_set_of_arguments),
    (
        "outcome_of_a_retry_is_recorded",
        outcome_of_a_retry_is_recorded::outcome_of_a_retry_is_recorded,
    ),
    ("read_asked_again", read_asked_again::read_asked_again),
    (
        "refusal_speaks_only_for_its_attempt",
        refusal_speaks_only_for_its_attempt::refusal_speaks_only_for_its_attempt,
    ),
    (
        "refusal_speaks_only_for_its_attempt::a_call_that_every_attempt_was_refused_is_not_executed",
        refusal_speaks_only_for_its_attempt::a_call_that_every_attempt_was_refused_is_not_executed,
    ),
    (
        "refusal_speaks_only_for_its_attempt::a_refusal_counts_once",
        refusal_speaks_only_for_its_attempt::a_refusal_counts_once,
    ),
    ("request_lost", request_lost::request_lost),
    ("response_lost", response_lost::response_lost),
    ("responses_reach_their_call", responses_reach_their_call::responses_reach_their_call),
    ("retry_budget", retry_budget::retry_budget),
    ("server_crash_at_any_step", server_crash_at_any_step::server_crash_at_any_step),
    ("session_is_used_up", session_is_used_up::session_is_used_up),
    (
        "session_is_used_up::a_session_is_left_without_a_timer",
        session_is_used_up::a_session_is_left_without_a_timer,
    ),
    (
        "session_is_used_up::calls_wait_while_one_is_pending",
        session_is_used_up::calls_wait_while_one_is_pending,
    ),
    (
        "session_is_used_up::waiting_calls_have_their_deadlines",
        session_is_used_up::waiting_calls_have_their_deadlines,
    ),
    (
        "session_is_used_up::a_call_of_unknown_outcome_keeps_the_session",
        session_is_used_up::a_call_of_unknown_outcome_keeps_the_session,
    ),
    (
        "session_is_used_up::a_server_that_was_frozen_joins_the_new_session",
        session_is_used_up::a_server_that_was_frozen_joins_the_new_session,
    ),
    ("storm", storm::storm),
    ("storm::storm_over_many_sessions", storm::storm_over_many_sessions),
    ("suspect_probe_return", suspect_probe_return::suspect_probe_return),
    (
        "tentative_only_from_the_latest_attempt",
        tentative_only_from_the_latest_attempt::tentative_only_from_the_latest_attempt,
    ),
    (
        "tentative_recorded_for_a_later_attempt",
        tentative_recorded_for_a_later_attempt::tentative_recorded_for_a_later_attempt,
    ),
    (
        "tentative_recorded_for_a_later_attempt::tentative_recorded_for_an_attempt_that_joined",
        tentative_recorded_for_a_later_attempt::tentative_recorded_for_an_attempt_that_joined,
    ),
    (
        "unknown_settled_by_asking_again",
        unknown_settled_by_asking_again::unknown_settled_by_asking_again,
    ),
    (
        "unknown_settled_by_asking_again::unknown_settled_in_the_background",
        unknown_settled_by_asking_again::unknown_settled_in_the_background,
    ),
    (
        "unknown_settled_by_asking_again::unknown_that_never_arrived_never_will",
        unknown_settled_by_asking_again::unknown_that_never_arrived_never_will,
    ),
    (
        "unknown_settled_by_asking_again::unknown_that_is_asked_for_may_take_effect_now",
        unknown_settled_by_asking_again::unknown_that_is_asked_for_may_take_effect_now,
    ),
    ("unnameable_anchor", unnameable_anchor::unnameable_anchor),
    (
        "unnameable_anchor::unnameable_anchor_of_a_retry",
        unnameable_anchor::unnameable_anchor_of_a_retry,
    ),
    ("window_and_backpressure", window_and_backpressure::window_and_backpressure),
    (
        "window_and_backpressure::a_full_window_does_not_outlast_a_deadline",
        window_and_backpressure::a_full_window_does_not_outlast_a_deadline,
    ),
    ("zombie_server", zombie_server::zombie_server),
    ("zombie_server::zombie_server_after_the_ack", zombie_server::zombie_server_after_the_ack),
];
