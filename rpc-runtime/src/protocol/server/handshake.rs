//! What a hello must agree with.

use std::time::Duration;

use crate::id::MethodId;
use crate::schema::Fingerprint;
use crate::service::{Kind, ServiceSchema};
use crate::wire::WireError;
use crate::wire::handshake::{Hello, Reject, RejectReason};

/// A hello that fits the server's service.
#[derive(Debug)]
pub(crate) struct Agreement {
    /// By the client's number.
    methods: Vec<Option<AgreedMethod>>,
    /// The deadline of requests that name none.
    pub(crate) default_deadline: Duration,
    /// The largest frame that the client takes.
    client_max_frame: usize,
}

/// What a response's header takes at most: kind, sequence number, attempt, status, server time.
const MAX_RESPONSE_HEADER: usize = 1 + 10 + 5 + 1 + 10;

/// A method that both ends mean the same by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgreedMethod {
    /// The server's number of it.
    pub(crate) id: MethodId,
    pub(crate) kind: Kind,
    /// What tells its calls from those of other methods in argument hashes: a hash of its name,
    /// which other builds share.
    pub(crate) name_hash: u64,
}

impl Agreement {
    /// The largest encoded result that fits the client's frames with its header.
    pub(crate) fn max_result(&self) -> usize {
        self.client_max_frame.saturating_sub(MAX_RESPONSE_HEADER)
    }

    /// The method that the client calls by `id`.
    pub(crate) fn method(&self, id: MethodId) -> Option<AgreedMethod> {
        self.methods.get(usize::from(id.0)).copied().flatten()
    }
}

/// Compares a hello with the server's own service.
pub(crate) fn negotiate(hello: &Hello, service: &ServiceSchema) -> Result<Agreement, Reject> {
    if hello.service != service.name {
        let message = format!(
            "this server serves `{}`, the client calls `{}`: connect to another address",
            service.name, hello.service
        );
        return Err(Reject { reason: RejectReason::WrongService, message });
    }
    let mut methods = Vec::new();
    let mut wrong = Vec::new();
    for method in &hello.methods {
        let own = service.methods.iter().find(|own| own.name == method.name);
        match own {
            Some(own) if own.fingerprint == method.fingerprint => {
                let index = usize::from(method.id.0);
                if methods.len() <= index {
                    methods.resize(index + 1, None);
                }
                let name_hash = Fingerprint::of(own.name).0;
                methods[index] = Some(AgreedMethod { id: own.id, kind: own.kind, name_hash });
            }
            Some(own) => wrong.push(format!(
                "`{}` has other arguments or results than here, where it is {}",
                own.name, own.structure
            )),
            None => wrong.push(format!("`{}` does not exist here", method.name)),
        }
    }
    if !wrong.is_empty() {
        let message = format!(
            "client and server disagree on {} of service `{}`: build both from the same trait",
            wrong.join(", and "),
            service.name
        );
        return Err(Reject { reason: RejectReason::MethodMismatch, message });
    }
    Ok(Agreement {
        methods,
        default_deadline: hello.default_deadline,
        client_max_frame: hello.max_frame,
    })
}

/// What to answer to first bytes that are no hello.
pub(crate) fn reject_of(error: &WireError) -> Reject {
    let reason = match error {
        WireError::UnknownValue("version") => RejectReason::Version,
        _ => RejectReason::BadHello,
    };
    Reject { reason, message: format!("the connection was refused: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;
    use crate::service::MethodSchema;
    use crate::wire::handshake::HelloMethod;

    fn service() -> ServiceSchema {
        let get = MethodSchema::new(0, "get", Kind::Read, &[], u64::describe, <()>::describe);
        let put = MethodSchema::new(
            1,
            "put",
            Kind::Write,
            &[u64::describe],
            <()>::describe,
            <()>::describe,
        );
        ServiceSchema { name: "Cell", methods: vec![get, put] }
    }

    fn hello(service: &ServiceSchema) -> Hello {
        let methods = service.methods.iter().map(|method| HelloMethod {
            id: MethodId(method.id.0 + 5),
            name: method.name.to_owned(),
            fingerprint: method.fingerprint,
        });
        Hello {
            service: service.name.to_owned(),
            session: None,
            default_deadline: Duration::from_secs(1),
            max_frame: 1 << 20,
            methods: methods.collect(),
        }
    }

    #[test]
    fn methods_are_matched_by_name() {
        let agreement = negotiate(&hello(&service()), &service()).unwrap();
        let put = agreement.method(MethodId(6)).unwrap();
        assert_eq!((put.id, put.kind), (MethodId(1), Kind::Write));
        assert_eq!(agreement.method(MethodId(0)), None);
        assert_eq!(agreement.method(MethodId(99)), None);
        assert_eq!(agreement.max_result(), (1 << 20) - 27, "the longest header fits beside it");
    }

    #[test]
    fn a_method_that_differs_is_named() {
        let mut wrong = hello(&service());
        wrong.methods[1].fingerprint.0 ^= 1;
        let reject = negotiate(&wrong, &service()).unwrap_err();
        assert_eq!(reject.reason, RejectReason::MethodMismatch);
        assert!(reject.message.contains("`put`"), "{}", reject.message);
        assert!(!reject.message.contains("`get`"), "{}", reject.message);
    }

    #[test]
    fn another_service_is_named() {
        let mut other = hello(&service());
        other.service = "Bank".to_owned();
        let reject = negotiate(&other, &service()).unwrap_err();
        assert_eq!(reject.reason, RejectReason::WrongService);
        assert!(reject.message.contains("`Cell`") && reject.message.contains("`Bank`"));
    }
    #[test]
    fn a_method_that_does_not_exist_is_named() {
        let mut wrong = hello(&service());
        wrong.methods[0].name = "take".to_owned();
        let reject = negotiate(&wrong, &service()).unwrap_err();
        assert_eq!(reject.reason, RejectReason::MethodMismatch);
        assert!(reject.message.contains("`take` does not exist"), "{}", reject.message);
    }

    #[test]
    fn a_client_may_number_its_methods_in_any_order() {
        let mut turned = hello(&service());
        turned.methods.reverse();
        let agreement = negotiate(&turned, &service()).unwrap();
        let id = |number| agreement.method(MethodId(number)).map(|method| method.id.0);
        assert_eq!([4, 5, 6, 7].map(id), [None, Some(0), Some(1), None]);
    }

    #[test]
    fn a_result_leaves_room_for_its_header_in_the_clients_frames() {
        let agreement = negotiate(&hello(&service()), &service()).unwrap();
        assert_eq!(agreement.max_result(), (1 << 20) - 27);
        assert_eq!(agreement.default_deadline, Duration::from_secs(1));
        let tiny = Hello { max_frame: 3, ..hello(&service()) };
        assert_eq!(negotiate(&tiny, &service()).unwrap().max_result(), 0);
    }

    #[test]
    fn first_bytes_of_another_version_are_refused_as_such() {
        for (error, reason) in [
            (WireError::UnknownValue("version"), RejectReason::Version),
            (WireError::UnknownValue("kind"), RejectReason::BadHello),
            (WireError::NotOurProtocol, RejectReason::BadHello),
        ] {
            assert_eq!(reject_of(&error).reason, reason);
        }
    }
}
