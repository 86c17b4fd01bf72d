//! The trace context that a call carries from client to server.

/// A W3C trace context (trace id, parent span id, flags), carried as it is.
///
/// The runtime neither makes nor reads one; it hands it from the caller's tracing to the server's:
/// <https://www.w3.org/TR/trace-context/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Names the whole trace.
    pub trace_id: [u8; 16],
    /// Names the span that made the call.
    pub parent_id: [u8; 8],
    /// The flags of the standard; bit 0 is *sampled*.
    pub flags: u8,
}

impl TraceContext {
    pub(crate) fn to_bytes(self) -> [u8; 25] {
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&self.trace_id);
        bytes[16..24].copy_from_slice(&self.parent_id);
        bytes[24] = self.flags;
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; 25]) -> TraceContext {
        let mut trace_id = [0; 16];
        let mut parent_id = [0; 8];
        trace_id.copy_from_slice(&bytes[..16]);
        parent_id.copy_from_slice(&bytes[16..24]);
        TraceContext { trace_id, parent_id, flags: bytes[24] }
    }
}
