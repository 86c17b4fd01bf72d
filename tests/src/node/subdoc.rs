//! Lookups and mutations of several paths of one document, in one atomic step.
//!
//! Of paths in the body it knows names with dots between them, and only to look at. Of attributes
//! it can change whole ones.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::data::{Data, Document, Place, VBUCKET_UUID};
use super::packet::{Answer, Request, Status, op};

/// The most paths in one request.
const MAX_PATHS: usize = 16;
/// The longest name of an attribute, in bytes.
const MAX_XATTR_KEY_LEN: usize = 15;
const MAX_PATH_LEN: usize = 1024;

/// Flags of a path.
const CREATE_PARENTS: u8 = 0x01;
const XATTR_PATH: u8 = 0x04;

/// Flags of a document.
const MAKE_DOCUMENT: u8 = 0x01;
const ADD_DOCUMENT: u8 = 0x02;

/// One path, and what to do with it.
struct Spec {
    opcode: u8,
    is_xattr: bool,
    path: String,
    value: Bytes,
}

pub(super) fn lookup(data: &Data, place: &Place, request: &Request) -> Result<Answer, Status> {
    match request.extras[..] {
        [] | [0] => {}
        [_] => return Err(Status::NOT_SUPPORTED),
        _ => return Err(Status::EINVAL),
    }
    let specs = parse(&request.value, false)?;
    let document = data.document(place).ok_or(Status::KEY_ENOENT)?;
    let mut value = BytesMut::new();
    let mut status = Status::SUCCESS;
    for spec in &specs {
        let (found, bytes) = match look_up(document, spec) {
            Ok(bytes) => (Status::SUCCESS, bytes),
            Err(why) => {
                status = Status::SUBDOC_MULTI_PATH_FAILURE;
                (why, Bytes::new())
            }
        };
        value.put_u16(found.0);
        value.put_u32(u32::try_from(bytes.len()).expect("a document has at most 20 MiB"));
        value.put_slice(&bytes);
    }
    Ok(Answer { cas: document.cas, value: value.freeze(), ..Answer::of(status) })
}

pub(super) fn mutate(data: &mut Data, place: Place, request: &Request) -> Result<Answer, Status> {
    let flags = document_flags(&request.extras)?;
    let specs = parse(&request.value, true)?;
    if flags & ADD_DOCUMENT != 0 && request.cas != 0 {
        return Err(Status::EINVAL);
    }
    let mut document = match data.document(&place) {
        Some(_) if flags & ADD_DOCUMENT != 0 => return Err(Status::KEY_EEXISTS),
        Some(document) => document.clone(),
        None if flags & (ADD_DOCUMENT | MAKE_DOCUMENT) != 0 && request.cas == 0 => {
            Document { body: Bytes::from_static(b"{}"), ..Document::default() }
        }
        None => return Err(Status::KEY_ENOENT),
    };
    data.check(&place, request.cas)?;
    for (index, spec) in specs.iter().enumerate() {
        if let Err(why) = change(&mut document, spec) {
            let mut value = BytesMut::with_capacity(3);
            value.put_u8(u8::try_from(index).expect("at most 16 paths"));
            value.put_u16(why.0);
            let failed = Answer::of(Status::SUBDOC_MULTI_PATH_FAILURE);
            return Ok(Answer { value: value.freeze(), ..failed });
        }
    }
    data.put(place, document)
}

/// Expiry, if there are four or five bytes; flags, if there are one or five.
fn document_flags(extras: &[u8]) -> Result<u8, Status> {
    let (expiry, flags) = match *extras {
        [] => ([0; 4], 0),
        [flags] => ([0; 4], flags),
        [a, b, c, d] => ([a, b, c, d], 0),
        [a, b, c, d, flags] => ([a, b, c, d], flags),
        _ => return Err(Status::EINVAL),
    };
    if expiry != [0; 4] || flags & !(MAKE_DOCUMENT | ADD_DOCUMENT) != 0 {
        return Err(Status::NOT_SUPPORTED);
    }
    if flags == MAKE_DOCUMENT | ADD_DOCUMENT {
        return Err(Status::EINVAL);
    }
    Ok(flags)
}

fn parse(value: &Bytes, is_mutation: bool) -> Result<Vec<Spec>, Status> {
    let head_len = if is_mutation { 8 } else { 4 };
    let mut rest = value.clone();
    let mut specs: Vec<Spec> = Vec::new();
    while rest.has_remaining() {
        if specs.len() == MAX_PATHS {
            return Err(Status::SUBDOC_INVALID_COMBO);
        }
        if rest.len() < head_len {
            return Err(Status::EINVAL);
        }
        let opcode = rest.get_u8();
        let flags = rest.get_u8();
        let path_len = usize::from(rest.get_u16());
        let value_len = if is_mutation { rest.get_u32() as usize } else { 0 };
        if path_len > MAX_PATH_LEN || rest.len() < path_len.saturating_add(value_len) {
            return Err(Status::EINVAL);
        }
        let path = String::from_utf8(rest.split_to(path_len).to_vec())
            .map_err(|_| Status::SUBDOC_PATH_EINVAL)?;
        let spec = Spec {
            opcode,
            is_xattr: flags & XATTR_PATH != 0,
            path,
            value: rest.split_to(value_len),
        };
        spec.check(flags, is_mutation)?;
        if spec.is_xattr && specs.last().is_some_and(|last| !last.is_xattr) {
            return Err(Status::SUBDOC_INVALID_XATTR_ORDER);
        }
        specs.push(spec);
    }
    if specs.is_empty() { Err(Status::SUBDOC_INVALID_COMBO) } else { Ok(specs) }
}

impl Spec {
    fn check(&self, flags: u8, is_mutation: bool) -> Result<(), Status> {
        if flags & !(XATTR_PATH | CREATE_PARENTS) != 0 {
            return Err(Status::NOT_SUPPORTED);
        }
        let (known, is_whole, has_value) = match (is_mutation, self.opcode) {
            (false, op::SUBDOC_GET | op::SUBDOC_EXISTS) => (true, false, false),
            (false, op::GET) => (true, true, false),
            (true, op::SUBDOC_DICT_ADD | op::SUBDOC_DICT_UPSERT | op::SUBDOC_REPLACE) => {
                (true, false, true)
            }
            (true, op::SUBDOC_DELETE) => (true, false, false),
            (true, op::SET) => (true, true, true),
            _ => (false, false, false),
        };
        if !known {
            return Err(Status::SUBDOC_INVALID_COMBO);
        }
        if is_whole && (self.is_xattr || !self.path.is_empty()) {
            return Err(Status::EINVAL);
        }
        if has_value == self.value.is_empty() {
            return Err(Status::EINVAL);
        }
        if !is_whole && self.path.is_empty() {
            return Err(Status::EINVAL);
        }
        if self.is_xattr {
            let key = self.path.split('.').next().unwrap_or_default();
            if key.is_empty() || key.len() > MAX_XATTR_KEY_LEN {
                return Err(Status::XATTR_EINVAL);
            }
            if is_mutation && key.starts_with('$') {
                return Err(Status::SUBDOC_XATTR_CANT_MODIFY_VATTR);
            }
        }
        // Changes within a body, or within an attribute, are not for this node.
        if is_mutation && !is_whole && (!self.is_xattr || self.path.contains(['.', '['])) {
            return Err(Status::NOT_SUPPORTED);
        }
        Ok(())
    }
}

fn look_up(document: &Document, spec: &Spec) -> Result<Bytes, Status> {
    if spec.opcode == op::GET {
        return Ok(document.body.clone());
    }
    let found = if spec.is_xattr {
        let (key, path) = spec.path.split_once('.').unwrap_or((&spec.path, ""));
        match document.xattrs.get(key) {
            _ if key == "$document" => walk(&virtual_document(document), path)?,
            _ if key.starts_with('$') => return Err(Status::SUBDOC_XATTR_UNKNOWN_VATTR),
            None => return Err(Status::SUBDOC_PATH_ENOENT),
            Some(whole) if path.is_empty() => whole.clone(),
            Some(whole) => walk_bytes(whole, path)?,
        }
    } else {
        walk_bytes(&document.body, &spec.path)?
    };
    Ok(if spec.opcode == op::SUBDOC_EXISTS { Bytes::new() } else { found })
}

fn walk_bytes(json: &[u8], path: &str) -> Result<Bytes, Status> {
    walk(&serde_json::from_slice(json).map_err(|_| Status::SUBDOC_DOC_NOT_JSON)?, path)
}

fn walk(value: &Value, path: &str) -> Result<Bytes, Status> {
    if path.contains(['[', '`']) {
        return Err(Status::SUBDOC_PATH_EINVAL);
    }
    let mut at = value;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let object = at.as_object().ok_or(Status::SUBDOC_PATH_MISMATCH)?;
        at = object.get(name).ok_or(Status::SUBDOC_PATH_ENOENT)?;
    }
    Ok(at.to_string().into())
}

/// The attribute that every document has without having it.
fn virtual_document(document: &Document) -> Value {
    let mut datatypes = if document.is_json() { vec!["json"] } else { vec!["raw"] };
    if !document.xattrs.is_empty() {
        datatypes.push("xattr");
    }
    json!({
        "CAS": format!("0x{:016x}", document.cas),
        "vbucket_uuid": format!("0x{VBUCKET_UUID:016x}"),
        "seqno": format!("0x{:016x}", document.seqno),
        "revid": document.revision.to_string(),
        "exptime": 0,
        "flags": document.flags,
        "value_bytes": document.body.len(),
        "datatype": datatypes,
        "deleted": false,
        "last_modified": (document.cas / 1_000_000_000).to_string(),
    })
}

fn change(document: &mut Document, spec: &Spec) -> Result<(), Status> {
    if spec.opcode == op::SET {
        document.body = spec.value.clone();
        return Ok(());
    }
    let is_there = document.xattrs.contains_key(&spec.path);
    match spec.opcode {
        op::SUBDOC_DICT_ADD if is_there => return Err(Status::SUBDOC_PATH_EEXISTS),
        op::SUBDOC_DELETE | op::SUBDOC_REPLACE if !is_there => {
            return Err(Status::SUBDOC_PATH_ENOENT);
        }
        op::SUBDOC_DELETE => {
            document.xattrs.remove(&spec.path);
            return Ok(());
        }
        _ => {}
    }
    if serde_json::from_slice::<serde::de::IgnoredAny>(&spec.value).is_err() {
        return Err(Status::SUBDOC_VALUE_CANTINSERT);
    }
    document.xattrs.insert(spec.path.clone(), spec.value.clone());
    Ok(())
}
