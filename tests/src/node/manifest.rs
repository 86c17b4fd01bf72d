//! Scopes and collections of the bucket.

use serde_json::{Value, json};

/// Which scopes and collections there are.
#[derive(Debug)]
pub(super) struct Manifest {
    uid: u64,
    /// Numbers below are given to the server itself.
    next_id: u32,
    scopes: Vec<Scope>,
}

#[derive(Debug)]
struct Scope {
    name: String,
    id: u32,
    collections: Vec<Collection>,
}

#[derive(Debug)]
struct Collection {
    name: String,
    id: u32,
}

/// Why a name is not in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Scope,
    Collection,
}

/// Why a manifest stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotChanged {
    Exists,
    Unknown(Unknown),
}

const DEFAULT: &str = "_default";
const FIRST_OWN_ID: u32 = 8;

impl Manifest {
    pub(super) fn uid(&self) -> u64 {
        self.uid
    }

    pub(super) fn id_of(&self, scope: &str, collection: &str) -> Result<u32, Unknown> {
        let scope = self.scopes.iter().find(|s| s.name == scope).ok_or(Unknown::Scope)?;
        let found = scope.collections.iter().find(|c| c.name == collection);
        Ok(found.ok_or(Unknown::Collection)?.id)
    }

    pub(super) fn has(&self, id: u32) -> bool {
        self.scopes.iter().flat_map(|scope| &scope.collections).any(|c| c.id == id)
    }

    pub(super) fn add_scope(&mut self, name: &str) -> Result<u64, NotChanged> {
        if self.scopes.iter().any(|scope| scope.name == name) {
            return Err(NotChanged::Exists);
        }
        let id = self.new_id();
        self.scopes.push(Scope { name: name.to_owned(), id, collections: Vec::new() });
        Ok(self.changed())
    }

    pub(super) fn add_collection(&mut self, scope: &str, name: &str) -> Result<u64, NotChanged> {
        let id = self.new_id();
        let scope = self.scopes.iter_mut().find(|s| s.name == scope);
        let scope = scope.ok_or(NotChanged::Unknown(Unknown::Scope))?;
        if scope.collections.iter().any(|collection| collection.name == name) {
            return Err(NotChanged::Exists);
        }
        scope.collections.push(Collection { name: name.to_owned(), id });
        Ok(self.changed())
    }

    /// Removes a scope; also says which collections went with it.
    pub(super) fn remove_scope(&mut self, name: &str) -> Result<(u64, Vec<u32>), NotChanged> {
        let at = self.scopes.iter().position(|scope| scope.name == name);
        let scope = self.scopes.remove(at.ok_or(NotChanged::Unknown(Unknown::Scope))?);
        let gone = scope.collections.iter().map(|collection| collection.id).collect();
        Ok((self.changed(), gone))
    }

    pub(super) fn remove_collection(
        &mut self,
        scope: &str,
        name: &str,
    ) -> Result<(u64, Vec<u32>), NotChanged> {
        let scope = self.scopes.iter_mut().find(|s| s.name == scope);
        let scope = scope.ok_or(NotChanged::Unknown(Unknown::Scope))?;
        let at = scope.collections.iter().position(|collection| collection.name == name);
        let at = at.ok_or(NotChanged::Unknown(Unknown::Collection))?;
        let gone = vec![scope.collections.remove(at).id];
        Ok((self.changed(), gone))
    }

    pub(super) fn to_json(&self) -> Value {
        let hex = |id: u64| format!("{id:x}");
        let scopes: Vec<Value> = self
            .scopes
            .iter()
            .map(|scope| {
                let collections: Vec<Value> = scope
                    .collections
                    .iter()
                    .map(|c| json!({ "name": c.name, "uid": hex(c.id.into()), "maxTTL": 0 }))
                    .collect();
                json!({ "name": scope.name, "uid": hex(scope.id.into()), "collections": collections })
            })
            .collect();
        json!({ "uid": hex(self.uid), "scopes": scopes })
    }

    fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    fn changed(&mut self) -> u64 {
        self.uid += 1;
        self.uid
    }
}

impl Default for Manifest {
    fn default() -> Manifest {
        let default = Collection { name: DEFAULT.to_owned(), id: 0 };
        let scope = Scope { name: DEFAULT.to_owned(), id: 0, collections: vec![default] };
        Manifest { uid: 0, next_id: FIRST_OWN_ID, scopes: vec![scope] }
    }
}
