//! What an error of the driver means for a read and for a write. `docs/couchbase.md` has the table.

use couchbase::error::{Error, ErrorKind};

/// What is known after a write was answered with an error, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteVerdict {
    /// Not done: the document is in another state, is there or is not.
    Mismatch,
    /// Done or not: only reading again tells.
    Ambiguous,
    /// Not done, and will be possible soon: ask again.
    Wait,
    /// Not done; the store or its settings are in the way.
    Unavailable,
    /// Not done, and never will be.
    TooLarge,
}

/// What to do after a read was answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadVerdict {
    /// There is no document.
    Absent,
    /// Will be possible soon: ask again.
    Wait,
    /// The store or its settings are in the way.
    Unavailable,
}

pub(super) fn of_write(error: &Error) -> WriteVerdict {
    use ErrorKind as K;
    match error.kind() {
        // An insert over a document is answered with any of the first two, by the driver's version.
        K::CasMismatch | K::DocumentExists | K::DocumentNotFound => WriteVerdict::Mismatch,

        K::DurabilityWriteInProgress
        | K::DurableWriteRecommitInProgress
        | K::TemporaryFailure
        | K::DocumentLocked
        | K::RateLimitedFailure => WriteVerdict::Wait,

        K::ValueTooLarge => WriteVerdict::TooLarge,

        // The server refused before it changed anything, or nothing was sent.
        K::DurabilityImpossible
        | K::DurabilityLevelNotAvailable
        | K::AuthenticationFailure
        | K::BucketNotFound
        | K::ScopeNotFound
        | K::CollectionNotFound
        | K::ServiceNotAvailable(_)
        | K::FeatureNotAvailable(_)
        | K::UnsupportedOperation
        | K::QuotaLimitedFailure
        | K::InvalidArgument(_)
        | K::EncodingFailure(_)
        | K::ClusterDropped
        | K::PathNotFound
        | K::PathMismatch
        | K::PathInvalid
        | K::PathTooBig
        | K::PathTooDeep
        | K::PathExists
        | K::ValueTooDeep
        | K::ValueInvalid
        | K::DocumentNotJSON
        | K::NumberTooBig
        | K::DeltaInvalid
        | K::XattrUnknownMacro
        | K::XattrInvalidKeyCombo
        | K::XattrUnknownVirtualAttribute
        | K::XattrCannotModifyVirtualAttribute
        | K::XattrNoAccess
        | K::XattrInvalidOrder
        | K::XattrInvalidFlagCombo
        | K::DocumentNotLocked => WriteVerdict::Unavailable,

        // The connection broke, no answer came, or the answer says nothing certain. `OtherFailure`
        // is whatever the driver has no word for, a request cut off in flight among it; what
        // it will add in later versions, and what no write is answered with, is doubted as well.
        _ => WriteVerdict::Ambiguous,
    }
}

pub(super) fn of_read(error: &Error) -> ReadVerdict {
    use ErrorKind as K;
    match error.kind() {
        K::DocumentNotFound => ReadVerdict::Absent,

        // A read can always be repeated: so is one that was cut off.
        K::DurabilityWriteInProgress
        | K::DurableWriteRecommitInProgress
        | K::TemporaryFailure
        | K::DocumentLocked
        | K::RateLimitedFailure
        | K::RequestCanceled
        | K::InternalServerFailure
        | K::OtherFailure(_) => ReadVerdict::Wait,

        _ => ReadVerdict::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use couchbase::error::{FeatureNotAvailableErrorKind, InvalidArgumentErrorKind};
    use couchbase::service_type::ServiceType;

    use super::*;

    /// Every kind that the driver has in this version, with what is made of it.
    fn table() -> Vec<(ErrorKind, WriteVerdict, ReadVerdict)> {
        use ErrorKind as K;
        use ReadVerdict as R;
        use WriteVerdict as W;
        let text = || "because".to_owned();
        vec![
            (K::CasMismatch, W::Mismatch, R::Unavailable),
            (K::DocumentExists, W::Mismatch, R::Unavailable),
            (K::DocumentNotFound, W::Mismatch, R::Absent),
            (K::DurabilityWriteInProgress, W::Wait, R::Wait),
            (K::DurableWriteRecommitInProgress, W::Wait, R::Wait),
            (K::TemporaryFailure, W::Wait, R::Wait),
            (K::DocumentLocked, W::Wait, R::Wait),
            (K::RateLimitedFailure, W::Wait, R::Wait),
            (K::ValueTooLarge, W::TooLarge, R::Unavailable),
            (K::DurabilityAmbiguous, W::Ambiguous, R::Unavailable),
            (K::ServerTimeout, W::Ambiguous, R::Unavailable),
            (K::RequestCanceled, W::Ambiguous, R::Wait),
            (K::InternalServerFailure, W::Ambiguous, R::Wait),
            (K::OtherFailure(text()), W::Ambiguous, R::Wait),
            (K::DecodingFailure(text()), W::Ambiguous, R::Unavailable),
            (K::DurabilityImpossible, W::Unavailable, R::Unavailable),
            (K::DurabilityLevelNotAvailable, W::Unavailable, R::Unavailable),
            (K::AuthenticationFailure, W::Unavailable, R::Unavailable),
            (K::BucketNotFound, W::Unavailable, R::Unavailable),
            (K::ScopeNotFound, W::Unavailable, R::Unavailable),
            (K::CollectionNotFound, W::Unavailable, R::Unavailable),
            (K::ServiceNotAvailable(ServiceType::KV), W::Unavailable, R::Unavailable),
            (
                K::FeatureNotAvailable(FeatureNotAvailableErrorKind::new("f", None)),
                W::Unavailable,
                R::Unavailable,
            ),
            (K::UnsupportedOperation, W::Unavailable, R::Unavailable),
            (K::QuotaLimitedFailure, W::Unavailable, R::Unavailable),
            (
                K::InvalidArgument(InvalidArgumentErrorKind::new(None, "because")),
                W::Unavailable,
                R::Unavailable,
            ),
            (K::EncodingFailure(text()), W::Unavailable, R::Unavailable),
            (K::ClusterDropped, W::Unavailable, R::Unavailable),
            (K::PathNotFound, W::Unavailable, R::Unavailable),
            (K::PathMismatch, W::Unavailable, R::Unavailable),
            (K::PathInvalid, W::Unavailable, R::Unavailable),
            (K::PathTooBig, W::Unavailable, R::Unavailable),
            (K::PathTooDeep, W::Unavailable, R::Unavailable),
            (K::PathExists, W::Unavailable, R::Unavailable),
            (K::ValueTooDeep, W::Unavailable, R::Unavailable),
            (K::ValueInvalid, W::Unavailable, R::Unavailable),
            (K::DocumentNotJSON, W::Unavailable, R::Unavailable),
            (K::NumberTooBig, W::Unavailable, R::Unavailable),
            (K::DeltaInvalid, W::Unavailable, R::Unavailable),
            (K::XattrUnknownMacro, W::Unavailable, R::Unavailable),
            (K::XattrInvalidKeyCombo, W::Unavailable, R::Unavailable),
            (K::XattrUnknownVirtualAttribute, W::Unavailable, R::Unavailable),
            (K::XattrCannotModifyVirtualAttribute, W::Unavailable, R::Unavailable),
            (K::XattrNoAccess, W::Unavailable, R::Unavailable),
            (K::XattrInvalidOrder, W::Unavailable, R::Unavailable),
            (K::XattrInvalidFlagCombo, W::Unavailable, R::Unavailable),
            (K::DocumentNotLocked, W::Unavailable, R::Unavailable),
        ]
    }

    /// Kinds of other services, which no read or write of a document is answered with.
    fn foreign() -> Vec<ErrorKind> {
        use ErrorKind as K;
        vec![
            K::ParsingFailure,
            K::IndexNotFound,
            K::IndexExists,
            K::DocumentNotFoundOnReplica,
            K::DocumentUnretrievable,
            K::ReplicaIndexOutOfBounds,
            K::ReplicaIndexCurrentlyUnavailable,
            K::MutationTokenOutdated,
            K::PlanningFailure,
            K::IndexFailure,
            K::PreparedStatementFailure,
            K::DMLFailure,
            K::CollectionExists,
            K::ScopeExists,
            K::UserNotFound,
            K::GroupNotFound,
            K::BucketExists,
            K::UserExists,
            K::GroupExists,
            K::BucketNotFlushable,
        ]
    }

    #[test]
    fn every_kind_has_its_verdict() {
        for (kind, write, read) in table() {
            let error = Error::new(kind);
            assert_eq!(of_write(&error), write, "a write: {error}");
            assert_eq!(of_read(&error), read, "a read: {error}");
        }
    }

    #[test]
    fn what_should_never_come_is_doubted() {
        for kind in foreign() {
            let error = Error::new(kind);
            assert_eq!(of_write(&error), WriteVerdict::Ambiguous, "{error}");
            assert_eq!(of_read(&error), ReadVerdict::Unavailable, "{error}");
        }
    }

    #[test]
    fn the_documentation_has_every_kind() {
        let documented = include_str!("../../../../docs/couchbase.md");
        for (kind, ..) in table() {
            let shown = format!("{kind:?}");
            let name = shown.split('(').next().unwrap_or_default();
            assert!(documented.contains(&format!("`{name}`")), "docs/couchbase.md lacks {name}");
        }
    }
}
