//! What only tests of this crate need: rules that can be broken, and a look into frames.
//!
//! Here only with the feature `test-util`. Nothing in it is stable.
//!
//! | file | what stands in it |
//! | --- | --- |
//! | `inspect.rs` | [`inspect`]: what a frame on the wire says; [`cut`]: where it ends |
//!
//! [`Rule`] and [`Broken`] switch rules of the protocol off:
//!
//! ```
//! use rpc::testing::{Broken, Rule};
//!
//! let broken = Broken::rule(Rule::LookBeforeLeap);
//! // Whatever runs on this thread now leaps without a look.
//! drop(broken);
//! ```

mod inspect;

pub use self::inspect::{Direction, FrameView, ResponseStatus, cut, inspect};
pub use crate::rule::{Broken, Rule};
