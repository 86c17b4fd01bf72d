//! Who wants which documents.

use std::fmt;

/// A pattern of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Everybody changes one account.
    Hot,
    /// Everybody transfers from an account of their own to one account of all.
    HotPayee,
    /// Two accounts; half of the clients transfer one way, half the other.
    Opposite,
    /// A ring of so many accounts; each client transfers from one to the next.
    Ring(u64),
    /// Everybody transfers between two of so many accounts, any two.
    Random(u64),
    /// So many accounts, shared out among the clients: nobody meets anybody.
    Uncontended(u64),
}

impl Case {
    /// How many accounts there are.
    #[must_use]
    pub fn accounts(self, clients: u64) -> u64 {
        match self {
            Case::Hot => 1,
            Case::HotPayee => 1 + clients,
            Case::Opposite => 2,
            Case::Ring(accounts) | Case::Random(accounts) => accounts,
            Case::Uncontended(accounts) => accounts.max(2 * clients),
        }
    }

    /// The accounts of a client's next call, the anchor first.
    pub fn of_call(self, client: u64, clients: u64, rng: &mut fastrand::Rng) -> Vec<u64> {
        match self {
            Case::Hot => vec![0],
            Case::HotPayee => vec![1 + client, 0],
            Case::Opposite => vec![client % 2, 1 - client % 2],
            Case::Ring(accounts) => vec![client % accounts, (client + 1) % accounts],
            Case::Random(accounts) => two_of(0, accounts, rng),
            Case::Uncontended(_) => {
                let share = self.accounts(clients) / clients;
                two_of(client * share, share, rng)
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Case::Hot => f.write_str("hot account"),
            Case::HotPayee => f.write_str("hot payee"),
            Case::Opposite => f.write_str("opposite transfers"),
            Case::Ring(accounts) => write!(f, "ring of {accounts}"),
            Case::Random(accounts) => write!(f, "any two of {accounts}"),
            Case::Uncontended(accounts) => write!(f, "uncontended ({accounts})"),
        }
    }
}

fn two_of(first: u64, count: u64, rng: &mut fastrand::Rng) -> Vec<u64> {
    let one = rng.u64(0..count);
    let other = (one + rng.u64(1..count)) % count;
    vec![first + one, first + other]
}
