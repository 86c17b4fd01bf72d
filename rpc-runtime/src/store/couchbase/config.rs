//! The settings of the Couchbase store, and where they come from.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::ConnectError;

/// The settings of a [`CouchbaseStore`](super::CouchbaseStore).
///
/// They come from code, from one URL ([`from_url`](CouchbaseConfig::from_url), for a flag) or from
/// the environment ([`from_env`](CouchbaseConfig::from_env)). The password is never printed.
///
/// ```
/// use rpc::store::couchbase::CouchbaseConfig;
///
/// let config = CouchbaseConfig::default()
///     .url("couchbase://10.0.0.1,10.0.0.2")
///     .credentials("bank", "secret")
///     .bucket("bank")
///     .scope("production");
/// assert!(!format!("{config:?}").contains("secret"));
///
/// let same = CouchbaseConfig::from_url("couchbase://bank:secret@10.0.0.1,10.0.0.2/bank/production")?;
/// assert_eq!(same.bucket, config.bucket);
/// # Ok::<(), rpc::store::couchbase::ConnectError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct CouchbaseConfig {
    /// See [`CouchbaseConfig::url`].
    pub url: String,
    /// See [`CouchbaseConfig::credentials`].
    pub user: String,
    /// See [`CouchbaseConfig::credentials`].
    pub password: String,
    /// See [`CouchbaseConfig::bucket`].
    pub bucket: String,
    /// See [`CouchbaseConfig::scope`].
    pub scope: String,
    /// See [`CouchbaseConfig::collection`].
    pub collection: String,
    /// See [`CouchbaseConfig::ca_file`].
    pub ca_file: Option<PathBuf>,
    /// See [`CouchbaseConfig::require_durability`].
    pub require_durability: bool,
    /// See [`CouchbaseConfig::connections`].
    pub connections: usize,
    /// See [`CouchbaseConfig::connect_timeout`].
    pub connect_timeout: Duration,
    /// See [`CouchbaseConfig::read_timeout`].
    pub read_timeout: Duration,
    /// See [`CouchbaseConfig::write_timeout`].
    pub write_timeout: Duration,
    /// See [`CouchbaseConfig::patience`].
    pub patience: Duration,
}

impl CouchbaseConfig {
    /// Where the cluster is: `couchbase://host[:port][,host…]`, or `couchbases://…` with TLS.
    ///
    /// Default `couchbase://localhost`.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> CouchbaseConfig {
        self.url = url.into();
        self
    }

    /// The user, who needs to read and write data in the bucket and to read its settings.
    ///
    /// No default.
    #[must_use]
    pub fn credentials(
        mut self,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> CouchbaseConfig {
        self.user = user.into();
        self.password = password.into();
        self
    }

    /// The bucket. No default.
    #[must_use]
    pub fn bucket(mut self, bucket: impl Into<String>) -> CouchbaseConfig {
        self.bucket = bucket.into();
        self
    }

    /// The scope within the bucket. Default `_default`.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> CouchbaseConfig {
        self.scope = scope.into();
        self
    }

    /// The collection within the scope: all documents and all records lie in it.
    ///
    /// Default `_default`.
    #[must_use]
    pub fn collection(mut self, collection: impl Into<String>) -> CouchbaseConfig {
        self.collection = collection.into();
        self
    }

    /// A file with the certificates, as PEM, of who vouches for the cluster's certificate. Needs a
    /// `couchbases://` URL.
    ///
    /// Default: none; the usual public authorities and that of Couchbase Capella are trusted.
    #[must_use]
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> CouchbaseConfig {
        self.ca_file = Some(file.into());
        self
    }

    /// Whether the bucket must have a minimum durability of at least `majority`.
    ///
    /// Default `true`: without it a failover loses acknowledged writes, and with them the records
    /// that make calls happen once. `false` is for development on a single node.
    #[must_use]
    pub fn require_durability(mut self, required: bool) -> CouchbaseConfig {
        self.require_durability = required;
        self
    }

    /// How many connections there are to each node of the cluster; at least 1.
    ///
    /// Default 4: the driver (1.1) leaves Nagle's algorithm on, so a request may have to wait on its
    /// connection until the node has acknowledged the one before it.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> CouchbaseConfig {
        self.connections = connections.max(1);
        self
    }

    /// How long connecting may take. The driver tries again until then, also after a wrong password.
    ///
    /// Default 30 s: a cluster that has just been started answers within that.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> CouchbaseConfig {
        self.connect_timeout = timeout;
        self
    }

    /// How long one read may take before it is given up.
    ///
    /// Default 2.5 s: what the drivers of Couchbase use.
    #[must_use]
    pub fn read_timeout(mut self, timeout: Duration) -> CouchbaseConfig {
        self.read_timeout = timeout;
        self
    }

    /// How long one write may take before its outcome counts as unknown.
    ///
    /// Default 10 s: what the drivers of Couchbase use for durable writes.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> CouchbaseConfig {
        self.write_timeout = timeout;
        self
    }

    /// How long an operation waits in all for what passes by itself: a durable write of somebody
    /// else on the same document, a temporary failure.
    ///
    /// Default 2 s: many times what a durable write takes, and less than a caller waits.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> CouchbaseConfig {
        self.patience = patience;
        self
    }

    /// The settings in one URL:
    /// `couchbase[s]://user:password@host[:port][,host…]/bucket[/scope[/collection]][?option…]`.
    ///
    /// User and password may contain `%40` and the like. Options: `durability=none` (see
    /// [`require_durability`](CouchbaseConfig::require_durability)), `ca=FILE` (see
    /// [`ca_file`](CouchbaseConfig::ca_file)), and the times `connect=`, `read=`, `write=` and
    /// `patience=`, in milliseconds, such as `write=500ms`.
    ///
    /// # Errors
    /// [`ConnectError::Config`], if it is no such URL.
    pub fn from_url(url: &str) -> Result<CouchbaseConfig, ConnectError> {
        CouchbaseConfig::default().with_url(url)
    }

    /// The settings in the environment; `None` if `COUCHBASE_URL` is not set.
    ///
    /// | variable | what |
    /// | --- | --- |
    /// | `COUCHBASE_URL` | as [`from_url`](CouchbaseConfig::from_url) takes it; user, password and bucket may be left out |
    /// | `COUCHBASE_USER`, `COUCHBASE_PASSWORD` | whom to connect as |
    /// | `COUCHBASE_BUCKET`, `COUCHBASE_SCOPE`, `COUCHBASE_COLLECTION` | where the documents lie |
    /// | `COUCHBASE_CA` | the [`ca_file`](CouchbaseConfig::ca_file) |
    ///
    /// # Errors
    /// [`ConnectError::Config`], if a variable cannot be understood.
    pub fn from_env() -> Result<Option<CouchbaseConfig>, ConnectError> {
        CouchbaseConfig::from_variables(|name| std::env::var(name).ok())
    }

    /// Takes user, password, bucket and, for a `couchbases://` URL, the CA file from the environment
    /// where they are not set: a password in a flag is seen by everyone on the machine.
    #[must_use]
    pub fn or_env(self) -> CouchbaseConfig {
        self.or_variables(|name| std::env::var(name).ok())
    }

    fn or_variables(mut self, variable: impl Fn(&str) -> Option<String>) -> CouchbaseConfig {
        let settings = [
            ("COUCHBASE_USER", &mut self.user),
            ("COUCHBASE_PASSWORD", &mut self.password),
            ("COUCHBASE_BUCKET", &mut self.bucket),
        ];
        for (name, setting) in settings {
            if setting.is_empty() {
                *setting = variable(name).unwrap_or_default();
            }
        }
        if self.ca_file.is_none() && self.uses_tls() {
            self.ca_file = variable("COUCHBASE_CA").map(PathBuf::from);
        }
        self
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<CouchbaseConfig>, ConnectError> {
        let Some(url) = variable("COUCHBASE_URL") else { return Ok(None) };
        let mut config = CouchbaseConfig::default().with_url(&url)?;
        let settings = [
            ("COUCHBASE_USER", &mut config.user),
            ("COUCHBASE_PASSWORD", &mut config.password),
            ("COUCHBASE_BUCKET", &mut config.bucket),
            ("COUCHBASE_SCOPE", &mut config.scope),
            ("COUCHBASE_COLLECTION", &mut config.collection),
        ];
        for (name, setting) in settings {
            if let Some(value) = variable(name) {
                *setting = value;
            }
        }
        if let Some(file) = variable("COUCHBASE_CA") {
            config.ca_file = Some(file.into());
        }
        Ok(Some(config))
    }

    fn with_url(mut self, url: &str) -> Result<CouchbaseConfig, ConnectError> {
        let bad = |why: &str| {
            ConnectError::Config(format!(
                "the URL {why}: write couchbase://user:password@host/bucket"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("has no scheme"))?;
        if !matches!(scheme, "couchbase" | "couchbases") {
            return Err(bad("has another scheme than couchbase or couchbases"));
        }
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        if hosts.is_empty() {
            return Err(bad("names no host"));
        }
        self.url = format!("{scheme}://{hosts}");
        if let Some(login) = login {
            let (user, password) = login.split_once(':').ok_or_else(|| bad("has no password"))?;
            let decode = |text| percent_decode(text).ok_or_else(|| bad("has a bad % escape"));
            (self.user, self.password) = (decode(user)?, decode(password)?);
        }
        let mut parts = path.trim_end_matches('/').split('/').filter(|part| !part.is_empty());
        for setting in [&mut self.bucket, &mut self.scope, &mut self.collection] {
            if let Some(part) = parts.next() {
                part.clone_into(setting);
            }
        }
        if parts.next().is_some() {
            return Err(bad("has more than bucket, scope and collection in its path"));
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("durability", "none")) => self.require_durability = false,
                Some(("durability", "majority")) => self.require_durability = true,
                Some(("ca", file)) => self.ca_file = Some(file.into()),
                Some((name, value)) => {
                    let time = match name {
                        "connect" => &mut self.connect_timeout,
                        "read" => &mut self.read_timeout,
                        "write" => &mut self.write_timeout,
                        "patience" => &mut self.patience,
                        _ => return Err(bad(UNKNOWN_OPTION)),
                    };
                    let millis = value.strip_suffix("ms").and_then(|value| value.parse().ok());
                    let millis = millis.ok_or_else(|| bad("has a time that is not like 500ms"))?;
                    *time = Duration::from_millis(millis);
                }
                None => return Err(bad(UNKNOWN_OPTION)),
            }
        }
        Ok(self)
    }

    pub(super) fn uses_tls(&self) -> bool {
        self.url.starts_with("couchbases://")
    }

    /// Refuses settings that cannot work before anything is tried with them.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        let missing = [
            (self.user.is_empty(), "a user (COUCHBASE_USER)"),
            (self.password.is_empty(), "a password (COUCHBASE_PASSWORD)"),
            (self.bucket.is_empty(), "a bucket (COUCHBASE_BUCKET)"),
        ];
        for (is_missing, what) in missing {
            if is_missing {
                return Err(ConnectError::Config(format!("the Couchbase store needs {what}")));
            }
        }
        if self.ca_file.is_some() && !self.uses_tls() {
            let why = "a CA file is of no use without TLS: write couchbases:// in the URL";
            return Err(ConnectError::Config(why.to_owned()));
        }
        Ok(())
    }
}

impl Default for CouchbaseConfig {
    fn default() -> CouchbaseConfig {
        CouchbaseConfig {
            url: "couchbase://localhost".to_owned(),
            user: String::new(),
            password: String::new(),
            bucket: String::new(),
            scope: "_default".to_owned(),
            collection: "_default".to_owned(),
            ca_file: None,
            require_durability: true,
            connections: 4,
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_millis(2500),
            write_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(2),
        }
    }
}

impl fmt::Debug for CouchbaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CouchbaseConfig")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("bucket", &self.bucket)
            .field("scope", &self.scope)
            .field("collection", &self.collection)
            .field("ca_file", &self.ca_file)
            .field("require_durability", &self.require_durability)
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

const UNKNOWN_OPTION: &str =
    "has an option other than durability=none, ca=FILE and connect, read, write, patience=500ms";

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_it_all() {
        let url = "couchbases://ann:p%40ss@a:1,b/shop/live/orders?durability=none&ca=/ca.pem";
        let config = CouchbaseConfig::from_url(url).unwrap();
        assert_eq!(config.url, "couchbases://a:1,b");
        assert_eq!((config.user.as_str(), config.password.as_str()), ("ann", "p@ss"));
        assert_eq!(
            (config.bucket.as_str(), config.scope.as_str(), config.collection.as_str()),
            ("shop", "live", "orders")
        );
        assert!(!config.require_durability);
        assert_eq!(config.ca_file, Some("/ca.pem".into()));
        config.check().unwrap();
    }

    #[test]
    fn a_url_may_set_times() {
        let url = "couchbase://ann:pass@a/shop?connect=1ms&read=2ms&write=3ms&patience=4ms";
        let config = CouchbaseConfig::from_url(url).unwrap();
        let times =
            [config.connect_timeout, config.read_timeout, config.write_timeout, config.patience];
        assert_eq!(times.map(|time| time.as_millis()), [1, 2, 3, 4]);
    }

    #[test]
    fn what_a_url_leaves_out_has_its_default() {
        let config = CouchbaseConfig::from_url("couchbase://ann:pass@a/shop").unwrap();
        assert_eq!((config.scope.as_str(), config.collection.as_str()), ("_default", "_default"));
        assert!(config.require_durability);
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_the_password() {
        for url in [
            "a/shop",
            "http://ann:hidden@a/shop",
            "couchbase://ann:hidden@/shop",
            "couchbase://hidden@a/shop",
            "couchbase://ann:hidden%4@a/shop",
            "couchbase://ann:hidden@a/shop/live/orders/more",
            "couchbase://ann:hidden@a/shop?durability=some",
            "couchbase://ann:hidden@a/shop?write=5",
            "couchbase://ann:hidden@a/shop?delete=5ms",
        ] {
            let error = CouchbaseConfig::from_url(url).unwrap_err();
            assert!(matches!(error, ConnectError::Config(_)), "{url}: {error}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }

    #[test]
    fn variables_win_over_the_url() {
        let set = |name: &str| match name {
            "COUCHBASE_URL" => Some("couchbase://ann:pass@a/shop".to_owned()),
            "COUCHBASE_BUCKET" => Some("bank".to_owned()),
            "COUCHBASE_SCOPE" => Some("test".to_owned()),
            _ => None,
        };
        let config = CouchbaseConfig::from_variables(set).unwrap().unwrap();
        assert_eq!(
            (config.user.as_str(), config.bucket.as_str(), config.scope.as_str()),
            ("ann", "bank", "test")
        );
        assert_eq!(config.ca_file, None);
        assert!(CouchbaseConfig::from_variables(|_| None).unwrap().is_none());
    }

    #[test]
    fn variables_fill_what_is_not_set() {
        let config = CouchbaseConfig::from_url("couchbase://a/shop").unwrap();
        let config = config.or_variables(|name| Some(name.to_lowercase()));
        assert_eq!(
            (config.user.as_str(), config.password.as_str(), config.bucket.as_str()),
            ("couchbase_user", "couchbase_password", "shop")
        );
        assert_eq!(config.ca_file, None, "it is of no use without TLS");
    }

    #[test]
    fn who_is_trusted_may_stand_in_the_environment() {
        let set = |name: &str| match name {
            "COUCHBASE_URL" => Some("couchbases://ann:pass@a/shop?ca=/url.pem".to_owned()),
            "COUCHBASE_CA" => Some("/variable.pem".to_owned()),
            _ => None,
        };
        let config = CouchbaseConfig::from_variables(set).unwrap().unwrap();
        assert_eq!(config.ca_file, Some("/variable.pem".into()), "the variable wins");
        let flag = CouchbaseConfig::from_url("couchbases://ann:pass@a/shop").unwrap();
        assert_eq!(flag.or_variables(set).ca_file, Some("/variable.pem".into()));
        let flag = CouchbaseConfig::from_url("couchbases://ann:pass@a/shop?ca=/flag.pem").unwrap();
        assert_eq!(flag.or_variables(set).ca_file, Some("/flag.pem".into()), "the flag wins");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = CouchbaseConfig::default().credentials("ann", "pass").check().unwrap_err();
        assert!(error.to_string().contains("COUCHBASE_BUCKET"), "{error}");
        let error = CouchbaseConfig::from_url("couchbase://ann:pass@a/shop?ca=x").unwrap();
        assert!(error.check().unwrap_err().to_string().contains("couchbases://"));
    }
}
