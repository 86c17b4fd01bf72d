//! Management requests of the driver, and the control of the node itself. One request per
//! connection: the driver asks seldom.
//!
//! Control needs no password, and is for loopback only:
//!
//! | request | what |
//! | --- | --- |
//! | `GET /node` | counts, as JSON |
//! | `POST /node/faults` | one fault per line, see [`Fault`] |
//! | `DELETE /node/faults` | nothing goes wrong any more |
//! | `POST /node/map` | `FROM TO`: one data server gets all vBuckets of another one |

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::manifest::{NotChanged, Unknown};
use super::{DataServer, Fault, Shared, topology};

/// The longest line and the longest body that a request may have, in bytes.
const MAX_LINE_LEN: u64 = 8 << 10;
const MAX_BODY_LEN: usize = 64 << 10;
const MAX_HEADERS: usize = 64;

struct HttpRequest {
    method: String,
    path: String,
    authorization: String,
    body: String,
}

type Reply = (u16, Value);

pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    server: DataServer,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let (shared, tls) = (Arc::clone(&shared), tls.clone());
                    connections.spawn(async move {
                        let _ = match tls {
                            None => serve(stream, server, &shared).await,
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => serve(stream, server, &shared).await,
                                Err(untrusted) => Err(untrusted),
                            },
                        };
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    server: DataServer,
    shared: &Shared,
) -> std::io::Result<()> {
    let (status, body) = match read(&mut stream).await? {
        Some(request) => answer(shared, server, &request),
        None => (400, json!({ "error": "not understood" })),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<HttpRequest>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    (&mut reader).take(MAX_LINE_LEN).read_line(&mut line).await?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let path = path.split('?').next().unwrap_or_default().trim_matches('/');
    let mut request = HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        authorization: String::new(),
        body: String::new(),
    };
    let mut body_len = 0;
    for _ in 0..MAX_HEADERS {
        let mut line = String::new();
        (&mut reader).take(MAX_LINE_LEN).read_line(&mut line).await?;
        let line = line.trim_end();
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.trim().clone_into(&mut request.authorization),
            "content-length" => body_len = value.trim().parse().unwrap_or(usize::MAX),
            _ => {}
        }
    }
    if body_len > MAX_BODY_LEN {
        return Ok(None);
    }
    let mut body = vec![0; body_len];
    reader.read_exact(&mut body).await?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(request))
}

fn answer(shared: &Shared, server: DataServer, request: &HttpRequest) -> Reply {
    let parts: Vec<&str> = request.path.split('/').collect();
    let method = request.method.as_str();
    if let ["node", rest @ ..] = &parts[..] {
        return control(shared, method, rest, &request.body);
    }
    let login = format!("{}:{}", shared.config.user, shared.config.password);
    if request.authorization != format!("Basic {}", STANDARD.encode(login)) {
        return (401, json!("wrong user or password"));
    }
    let bucket = shared.config.bucket.as_str();
    match (method, &parts[..]) {
        ("GET", ["pools", "default", "nodeServices"]) => configuration(shared, server, false),
        ("GET", ["pools", "default", "b", name]) if *name == bucket => {
            configuration(shared, server, true)
        }
        ("GET", ["pools", "default", "buckets", name]) if *name == bucket => {
            (200, topology::bucket_settings(shared))
        }
        (_, ["pools", "default", "buckets", name, "scopes", rest @ ..]) if *name == bucket => {
            scopes(shared, method, rest, &request.body)
        }
        (_, ["pools", "default", "b" | "buckets", ..]) => {
            (404, json!("Requested resource not found."))
        }
        _ => (404, json!("this node does not know that")),
    }
}

fn configuration(shared: &Shared, server: DataServer, with_bucket: bool) -> Reply {
    let config = topology::configuration(shared, server, with_bucket);
    (200, serde_json::from_slice(&config).unwrap_or_default())
}

fn scopes(shared: &Shared, method: &str, rest: &[&str], body: &str) -> Reply {
    let name = || form_value(body, "name").unwrap_or_default();
    let mut data = shared.data();
    let changed = match (method, rest) {
        ("GET", []) => return (200, data.manifest.to_json()),
        ("POST", []) => data.manifest.add_scope(&name()),
        ("POST", [scope, "collections"]) => data.manifest.add_collection(scope, &name()),
        ("DELETE", [scope]) => {
            let removed = data.manifest.remove_scope(scope);
            removed.map(|(uid, gone)| {
                data.drop_collections(&gone);
                uid
            })
        }
        ("DELETE", [scope, "collections", collection]) => {
            let removed = data.manifest.remove_collection(scope, collection);
            removed.map(|(uid, gone)| {
                data.drop_collections(&gone);
                uid
            })
        }
        _ => return (405, json!("this node does not do that")),
    };
    let named = rest.first().copied().unwrap_or_default();
    match changed {
        Ok(uid) => (200, json!({ "uid": format!("{uid:x}") })),
        Err(NotChanged::Exists) => {
            let what = if rest.is_empty() { "Scope" } else { "Collection" };
            let text = format!("{what} with name \"{}\" already exists", name());
            (400, json!({ "errors": { "_": text } }))
        }
        Err(NotChanged::Unknown(Unknown::Scope)) => {
            let text = format!("Scope with name \"{named}\" is not found");
            (404, json!({ "errors": { "_": text } }))
        }
        Err(NotChanged::Unknown(Unknown::Collection)) => {
            let text = format!("Collection in scope \"{named}\" is not found");
            (404, json!({ "errors": { "_": text } }))
        }
    }
}

fn control(shared: &Shared, method: &str, rest: &[&str], body: &str) -> Reply {
    match (method, rest) {
        ("GET", []) => {
            let mut requests: BTreeMap<&str, u64> = BTreeMap::new();
            for ((_, name), count) in &*shared.requests() {
                *requests.entry(name).or_default() += count;
            }
            let documents = shared.data().len();
            let faults = shared.faults.happened();
            (200, json!({ "documents": documents, "requests": requests, "faults": faults }))
        }
        ("POST", ["faults"]) => {
            let lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
            match lines.map(str::parse::<Fault>).collect::<Result<Vec<_>, _>>() {
                Ok(faults) => {
                    let count = faults.len();
                    faults.into_iter().for_each(|fault| shared.faults.add(fault));
                    (200, json!({ "added": count }))
                }
                Err(error) => (400, json!({ "error": error.to_string() })),
            }
        }
        ("DELETE", ["faults"]) => {
            shared.faults.clear();
            (200, json!({ "added": 0 }))
        }
        ("POST", ["map"]) => {
            let servers: Vec<usize> =
                body.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            match servers[..] {
                [from, to] if from.max(to) < shared.servers.len() => {
                    shared.map().hand_over(DataServer(from), DataServer(to));
                    (200, json!({ "revision": shared.map().revision() }))
                }
                _ => (400, json!({ "error": "write two numbers of data servers, such as `0 1`" })),
            }
        }
        _ => {
            let known = "GET /node, POST /node/faults, DELETE /node/faults or POST /node/map";
            (404, json!({ "error": known }))
        }
    }
}

/// A value of a form. Names of scopes and collections have no character that needs an escape
/// but `%`, which comes as `%25`.
fn form_value(body: &str, name: &str) -> Option<String> {
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.replace("%25", "%"))
}
