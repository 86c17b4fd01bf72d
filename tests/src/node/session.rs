//! What one connection has agreed on, and what is answered to it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::data::{Data, Place};
use super::manifest::Unknown;
use super::packet::{Answer, Request, Status, op};
use super::sasl::{self, Login, Step};
use super::{DataServer, Shared, subdoc, topology};

/// Features that a client may ask for.
mod feature {
    pub(super) const XATTR: u16 = 0x06;
    pub(super) const XERROR: u16 = 0x07;
    pub(super) const SELECT_BUCKET: u16 = 0x08;
    pub(super) const JSON: u16 = 0x0b;
    pub(super) const MUTATION_TOKENS: u16 = 0x04;
    pub(super) const UNORDERED_EXECUTION: u16 = 0x0e;
    pub(super) const FLEXIBLE_REQUESTS: u16 = 0x10;
    pub(super) const SYNC_REPLICATION: u16 = 0x11;
    pub(super) const COLLECTIONS: u16 = 0x12;
    pub(super) const KNOWN_VERSION: u16 = 0x1d;

    pub(super) const ALL: [u16; 10] = [
        XATTR,
        XERROR,
        SELECT_BUCKET,
        JSON,
        MUTATION_TOKENS,
        UNORDERED_EXECUTION,
        FLEXIBLE_REQUESTS,
        SYNC_REPLICATION,
        COLLECTIONS,
        KNOWN_VERSION,
    ];
}

/// The frame info that asks for durability, and its levels: majority, majority and persisted on
/// the active node, persisted on a majority.
const DURABILITY_FRAME: u16 = 1;
const DURABILITY_LEVELS: std::ops::RangeInclusive<u8> = 1..=3;
/// With more replicas than this there is no durability.
const MAX_DURABLE_REPLICAS: u32 = 2;

/// What one connection has agreed on.
#[derive(Debug)]
pub(super) struct Session {
    server: DataServer,
    features: Vec<u16>,
    login: Option<Login>,
    is_known: bool,
    has_bucket: bool,
}

/// Whether a request is about a document: only those can be struck by faults.
pub(super) fn is_about_document(request: &Request) -> bool {
    matches!(
        request.opcode,
        op::GET
            | op::SET
            | op::ADD
            | op::REPLACE
            | op::DELETE
            | op::GET_META
            | op::MULTI_LOOKUP
            | op::MULTI_MUTATION
    )
}

impl Session {
    pub(super) fn new(server: DataServer) -> Session {
        Session { server, features: Vec::new(), login: None, is_known: false, has_bucket: false }
    }

    pub(super) fn answer(&mut self, shared: &Shared, request: &Request) -> Answer {
        let answered = match request.opcode {
            op::HELLO => Ok(self.hello(request)),
            op::GET_ERROR_MAP => Ok(Answer::value(topology::error_map())),
            op::SASL_LIST => Ok(Answer::value(sasl::MECHANISMS)),
            op::SASL_AUTH | op::SASL_STEP => self.log_in(shared, request),
            op::NOOP => Ok(Answer::of(Status::SUCCESS)),
            _ if !self.is_known => Err(Status::EACCESS),
            op::SELECT_BUCKET => self.select_bucket(shared, request),
            op::GET_CLUSTER_CONFIG => self.configuration(shared, request),
            _ if op::name(request.opcode) == "unknown" => Err(Status::UNKNOWN_COMMAND),
            _ if !self.has_bucket => Err(Status::NO_BUCKET),
            op::GET_COLLECTION_ID => collection_id(&shared.data(), request),
            op::GET_MANIFEST => Ok(Answer::value(shared.data().manifest.to_json().to_string())),
            _ => self.on_document(shared, request),
        };
        answered.unwrap_or_else(Answer::of)
    }

    /// The answer to a request that came to the wrong node: the map by which it would not have.
    pub(super) fn not_mine(&self, shared: &Shared) -> Answer {
        let value = topology::configuration(shared, self.server, self.has_bucket).into();
        Answer { value, ..Answer::of(Status::NOT_MY_VBUCKET) }
    }

    fn hello(&mut self, request: &Request) -> Answer {
        let mut asked = request.value.clone();
        self.features.clear();
        while asked.remaining() >= 2 {
            let feature = asked.get_u16();
            if feature::ALL.contains(&feature) && !self.features.contains(&feature) {
                self.features.push(feature);
            }
        }
        let mut granted = BytesMut::new();
        for feature in &self.features {
            granted.put_u16(*feature);
        }
        Answer::value(granted.freeze())
    }

    fn log_in(&mut self, shared: &Shared, request: &Request) -> Result<Answer, Status> {
        let step = match (request.opcode, self.login.take()) {
            (op::SASL_AUTH, _) => sasl::start(&shared.config, &request.key, &request.value),
            (_, Some(login)) => sasl::finish(&shared.config, &login, &request.value),
            (_, None) => Step::Refused,
        };
        match step {
            Step::Refused => Err(Status::AUTH_ERROR),
            Step::Continue(login, answer) => {
                self.login = Some(login);
                Ok(answer)
            }
            Step::Welcome(answer) => {
                self.is_known = true;
                Ok(answer)
            }
        }
    }

    fn select_bucket(&mut self, shared: &Shared, request: &Request) -> Result<Answer, Status> {
        if request.key != shared.config.bucket.as_bytes() {
            return Err(Status::KEY_ENOENT);
        }
        self.has_bucket = true;
        Ok(Answer::of(Status::SUCCESS))
    }

    fn configuration(&self, shared: &Shared, request: &Request) -> Result<Answer, Status> {
        let mut known = request.extras.clone();
        match known.len() {
            0 => {}
            16 if self.features.contains(&feature::KNOWN_VERSION) => {
                let _epoch = known.get_u64();
                if known.get_u64() >= shared.map().revision() {
                    return Ok(Answer::of(Status::SUCCESS));
                }
            }
            _ => return Err(Status::EINVAL),
        }
        Ok(Answer::value(topology::configuration(shared, self.server, self.has_bucket)))
    }

    fn on_document(&self, shared: &Shared, request: &Request) -> Result<Answer, Status> {
        if shared.map().owner(request.vbucket) != Some(self.server) {
            return Ok(self.not_mine(shared));
        }
        self.check_frames(shared, request)?;
        let mut data = shared.data();
        let place = self.place(&data, request)?;
        let needs_xattrs = matches!(request.opcode, op::MULTI_LOOKUP | op::MULTI_MUTATION);
        if needs_xattrs && !self.features.contains(&feature::XATTR) {
            return Err(Status::NOT_SUPPORTED);
        }
        let answer = match request.opcode {
            op::GET => data.get(&place),
            op::GET_META => data.get_meta(&place),
            op::SET | op::ADD | op::REPLACE => data.store(place, request),
            op::DELETE => data.delete(&place, request.cas),
            op::MULTI_LOOKUP => subdoc::lookup(&data, &place, request),
            op::MULTI_MUTATION => subdoc::mutate(&mut data, place, request),
            _ => Err(Status::UNKNOWN_COMMAND),
        };
        answer.map(|answer| self.without_token(request, answer))
    }

    /// Who has not asked for mutation tokens gets none.
    fn without_token(&self, request: &Request, mut answer: Answer) -> Answer {
        let is_write = !matches!(request.opcode, op::GET | op::GET_META | op::MULTI_LOOKUP);
        if is_write && !self.features.contains(&feature::MUTATION_TOKENS) {
            answer.extras = Bytes::new();
        }
        answer
    }

    fn check_frames(&self, shared: &Shared, request: &Request) -> Result<(), Status> {
        for (number, frame) in &request.frames {
            if *number != DURABILITY_FRAME || !self.features.contains(&feature::SYNC_REPLICATION) {
                return Err(Status::NOT_SUPPORTED);
            }
            match frame[..] {
                [level] | [level, _, _] if DURABILITY_LEVELS.contains(&level) => {}
                [_] | [_, _, _] => return Err(Status::DURABILITY_INVALID_LEVEL),
                _ => return Err(Status::EINVAL),
            }
            if shared.config.replicas > MAX_DURABLE_REPLICAS {
                return Err(Status::DURABILITY_IMPOSSIBLE);
            }
        }
        Ok(())
    }

    /// With collections, a key begins with the number of its collection, in LEB128.
    fn place(&self, data: &Data, request: &Request) -> Result<Place, Status> {
        if request.key.is_empty() {
            return Err(Status::EINVAL);
        }
        if !self.features.contains(&feature::COLLECTIONS) {
            return Ok((0, request.key.clone()));
        }
        let mut key = request.key.clone();
        let mut id = 0_u32;
        for shift in (0..u32::BITS).step_by(7) {
            if !key.has_remaining() {
                return Err(Status::EINVAL);
            }
            let byte = key.get_u8();
            id |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return match (key.is_empty(), data.manifest.has(id)) {
                    (true, _) => Err(Status::EINVAL),
                    (_, false) => Err(Status::UNKNOWN_COLLECTION),
                    _ => Ok((id, key)),
                };
            }
        }
        Err(Status::EINVAL)
    }
}

fn collection_id(data: &Data, request: &Request) -> Result<Answer, Status> {
    let path = std::str::from_utf8(&request.value).map_err(|_| Status::EINVAL)?;
    let (scope, collection) = path.split_once('.').ok_or(Status::EINVAL)?;
    let id = data.manifest.id_of(scope, collection).map_err(|unknown| match unknown {
        Unknown::Scope => Status::UNKNOWN_SCOPE,
        Unknown::Collection => Status::UNKNOWN_COLLECTION,
    })?;
    let mut extras = BytesMut::with_capacity(12);
    extras.put_u64(data.manifest.uid());
    extras.put_u32(id);
    Ok(Answer { extras: extras.freeze(), ..Answer::of(Status::SUCCESS) })
}
