//! What lies in the store: one document per account, and one per full page of its statement.
//!
//! The last page of a statement lies in the account's own document, so that a deposit writes one
//! document and a transfer two. A page that is full moves to a document of its own when the next
//! entry comes, and never changes again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AccountName, Balance, Entry, PageNumber};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Document)]
#[document(key = AccountName, collection = "account")]
pub struct Account {
    /// What it holds: always that of the last entry.
    pub balance: Balance,
    /// Whether it was closed.
    pub closed: bool,
    /// The number of its last page.
    pub page: PageNumber,
    /// The entries of its last page, oldest first: 1 to [`PAGE_ENTRIES`](crate::PAGE_ENTRIES).
    pub entries: Vec<Entry>,
}

/// A full page of a statement. There is one more page behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, rpc::Document)]
#[document(key = PageKey, collection = "statement")]
pub struct FullPage {
    /// Its [`PAGE_ENTRIES`](crate::PAGE_ENTRIES) entries, oldest first.
    pub entries: Vec<Entry>,
}

/// The name of a full page: `account/page`. No account name contains a slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageKey {
    /// Whose statement.
    pub account: AccountName,
    /// Which page of it.
    pub page: PageNumber,
}

impl Account {
    /// An account without any entry yet.
    pub(crate) fn new() -> Account {
        Account {
            balance: Balance::ZERO,
            closed: false,
            page: PageNumber::FIRST,
            entries: Vec::new(),
        }
    }
}

impl fmt::Display for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Amount, Movement, PAGE_ENTRIES, Reference};

    #[test]
    fn the_largest_page_is_far_below_the_limit_of_a_document() {
        let name: AccountName = "n".repeat(AccountName::MAX_LEN).parse().unwrap();
        let reference: Reference = "\"".repeat(Reference::MAX_LEN).parse().unwrap();
        let movement = Movement::TransferOut { to: name.clone(), amount: Amount::MAX };
        let entry = Entry { reference, movement, balance: Balance::MAX };
        let mut account = Account::new();
        account.entries = vec![entry; PAGE_ENTRIES];
        let size = serde_json::to_vec(&account).unwrap().len();
        assert!(size < rpc::MAX_DOCUMENT_BYTES / 64, "{size} bytes");
    }

    #[test]
    fn documents_have_the_names_that_stored_data_has() {
        use rpc::DocumentKey as _;
        let account: AccountName = "alice".parse().unwrap();
        assert_eq!(account.doc_key().unwrap().as_str(), "account:alice");
        let page = PageKey { account, page: PageNumber::FIRST.next() };
        assert_eq!(page.doc_key().unwrap().as_str(), "statement:alice/2");
    }
}
