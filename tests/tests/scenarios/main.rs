//! One scenario per row of the case table of `docs/protocol.md`, and per rule behind it.

mod both_servers_at_once;
mod business_never_answers;
mod business_slow;
mod caller_drops_the_call;
mod client_crash_journalled_client;
mod client_crash_volatile_client;
mod duplicate_response;
mod failover_after_the_effect;
mod id_seen_again_after_its_ack;
mod lost_twice;
mod no_error;
mod request_lost;
mod response_lost;
mod responses_reach_their_call;
mod server_crash_at_any_step;
mod zombie_server;
