//! What is counted of a whole run, and what of it is a call's.

/// What one run has taken on either side.
pub(crate) struct Counted {
    pub(crate) calls: f64,
    pub(crate) client: f64,
    pub(crate) server: f64,
}

impl Counted {
    /// What a call takes, on the client and on the server: what this run took more than a shorter one, its
    /// additional calls took, and neither the start nor the end of anything.
    pub(crate) fn per_call_beyond(&self, shorter: &Counted) -> [f64; 2] {
        let calls = self.calls - shorter.calls;
        [(self.client - shorter.client) / calls, (self.server - shorter.server) / calls]
    }
}
