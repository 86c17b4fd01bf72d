//! One scenario for each case of `docs/protocol.md`, and for each rule behind them. Every rule is also
//! broken once, to show that its scenario notices.
//!
//! | case | file |
//! | --- | --- |
//! | no error | `no_error.rs` |
//! | business slow | `business_slow.rs` |
//! | business never answers | `business_never_answers.rs` |
//! | request lost | `request_lost.rs` |
//! | response lost | `response_lost.rs` |
//! | lost twice | `lost_twice.rs` |
//! | failover after the effect | `failover_after_the_effect.rs` |
//! | both servers at once | `both_servers_at_once.rs` |
//! | duplicate response | `duplicate_response.rs` |
//! | id seen again after its ack | `id_seen_again_after_its_ack.rs` |
//! | client crash, volatile client | `client_crash_volatile_client.rs` |
//! | client crash, journalled client | `client_crash_journalled_client.rs` |
//! | server crash, at any step | `server_crash_at_any_step.rs` |
//! | zombie server | `zombie_server.rs` |
//! | caller drops or cancels the call | `caller_drops_the_call.rs` |
//!
//! | rule | file |
//! | --- | --- |
//! | the watermark stops at the first incomplete call | `ack_up_to_the_gap.rs` |
//! | a business error rests on one state of what it read | `business_error_saw_one_state.rs` |
//! | a connection may break at any byte | `connection_cut_anywhere.rs` |
//! | a scenario is the same each time | `determinism.rs` |
//! | a frozen server loses no call, and does none twice | `frozen_server.rs` |
//! | a shutdown costs no call more than a retry | `graceful_shutdown_moves_clients.rs` |
//! | a hedged call takes effect once | `hedging_executes_once.rs` |
//! | acks hitchhike, and travel alone only when idle | `lone_ack_only_when_idle.rs` |
//! | every call ends in time, also with no server | `no_server_in_reach.rs` |
//! | an id with other arguments is refused | `one_id_one_set_of_arguments.rs` |
//! | a retry's outcome is recorded, with or without writes | `outcome_of_a_retry_is_recorded.rs` |
//! | a read is asked again freely, and recorded never | `read_asked_again.rs` |
//! | a refusal speaks only for its attempt, once | `refusal_speaks_only_for_its_attempt.rs` |
//! | a response reaches only its own call | `responses_reach_their_call.rs` |
//! | retries spend a budget | `retry_budget.rs` |
//! | a client moves to a new session before its limit | `session_is_used_up.rs` |
//! | all faults at once, from seeds | `storm.rs` |
//! | a silent server is suspected, probed, and comes back | `suspect_probe_return.rs` |
//! | a late “insufficient funds” is not believed | `tentative_only_from_the_latest_attempt.rs` |
//! | a tentative outcome belongs to its attempt alone | `tentative_recorded_for_a_later_attempt.rs` |
//! | asking again settles an unknown outcome | `unknown_settled_by_asking_again.rs` |
//! | what cannot be run is refused, and never left unknown | `unnameable_anchor.rs` |
//! | no more calls in flight than the window allows | `window_and_backpressure.rs` |

mod ack_up_to_the_gap;
#[allow(dead_code)]
pub(crate) mod all;
mod both_servers_at_once;
mod business_error_saw_one_state;
mod business_never_answers;
mod business_slow;
mod caller_drops_the_call;
mod client_crash_journalled_client;
mod client_crash_volatile_client;
mod connection_cut_anywhere;
mod determinism;
mod duplicate_response;
mod failover_after_the_effect;
mod frozen_server;
mod graceful_shutdown_moves_clients;
mod hedging_executes_once;
mod id_seen_again_after_its_ack;
mod lone_ack_only_when_idle;
mod lost_twice;
mod no_error;
mod no_server_in_reach;
mod one_id_one_set_of_arguments;
mod outcome_of_a_retry_is_recorded;
mod read_asked_again;
mod refusal_speaks_only_for_its_attempt;
mod request_lost;
mod response_lost;
mod responses_reach_their_call;
mod retry_budget;
mod server_crash_at_any_step;
mod session_is_used_up;
mod storm;
mod suspect_probe_return;
mod tentative_only_from_the_latest_attempt;
mod tentative_recorded_for_a_later_attempt;
mod unknown_settled_by_asking_again;
mod unnameable_anchor;
mod window_and_backpressure;
mod zombie_server;
