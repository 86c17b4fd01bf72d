//! What a client counts.

/// What a client has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Calls made.
    pub calls: u64,
    /// Sends of calls that had been sent before.
    pub retries: u64,
    /// Retries that went to another server than the send before.
    pub failovers: u64,
    /// Second sends made ahead of a time-out.
    pub hedges: u64,
    /// Time-outs of calls.
    pub timeouts: u64,
    /// Responses that came with the mark of a re-send.
    pub resent_responses: u64,
    /// Responses to calls that were no longer pending, or to an earlier attempt and not committed.
    pub dropped_responses: u64,
    /// Answers that a call is still running.
    pub in_progress: u64,
    /// Attempts that a server refused.
    pub refused: u64,
    /// Times that a server became suspect.
    pub suspicions: u64,
    /// Connections that were established.
    pub connections: u64,
    /// Sessions that were opened.
    pub sessions: u64,
    /// Calls whose outcome was unknown when their caller gave up.
    pub unknown: u64,
}
