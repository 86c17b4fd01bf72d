//! A store that the servers of several processes share: documents in the memory of one process,
//! changed by compare-and-swap over TCP. It stands in for a cluster, and takes as long as a process
//! of this machine.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rpc::store::DocKey;
use rpc::store::cas::{Cas, CasBackend, CasDocument, CasError};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

#[derive(Serialize, Deserialize)]
enum Request {
    Get(String),
    Insert { key: String, body: Vec<u8>, meta: Vec<u8> },
    Replace { key: String, cas: u64, body: Option<Vec<u8>>, meta: Vec<u8> },
    Remove { key: String, cas: u64 },
}

#[derive(Clone, Serialize, Deserialize)]
struct Document {
    cas: u64,
    body: Vec<u8>,
    meta: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Found(Option<Document>),
    Written(u64),
    Mismatch,
}

/// Serves the documents until the process ends; prints the address.
pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let documents = Arc::new(std::sync::Mutex::new(Documents::default()));
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let documents = Arc::clone(&documents);
        tokio::spawn(async move {
            // Until the other side is gone.
            while let Ok(request) = receive(&mut stream).await {
                let answer = documents.lock().expect("no panics").answer(request);
                if send(&mut stream, &answer).await.is_err() {
                    break;
                }
            }
        });
    }
}

#[derive(Default)]
struct Documents {
    by_key: HashMap<String, Document>,
    last: u64,
}

impl Documents {
    fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Get(key) => Answer::Found(self.by_key.get(&key).cloned()),
            Request::Insert { key, body, meta } if !self.by_key.contains_key(&key) => {
                self.put(key, body, meta)
            }
            Request::Insert { .. } => Answer::Mismatch,
            Request::Replace { key, cas, body, meta } => match self.by_key.get(&key) {
                Some(found) if found.cas == cas => {
                    let body = body.unwrap_or_else(|| found.body.clone());
                    self.put(key, body, meta)
                }
                _ => Answer::Mismatch,
            },
            Request::Remove { key, cas } => match self.by_key.get(&key) {
                Some(found) if found.cas == cas => {
                    self.by_key.remove(&key);
                    Answer::Written(0)
                }
                _ => Answer::Mismatch,
            },
        }
    }

    fn put(&mut self, key: String, body: Vec<u8>, meta: Vec<u8>) -> Answer {
        self.last += 1;
        self.by_key.insert(key, Document { cas: self.last, body, meta });
        Answer::Written(self.last)
    }
}

/// A server's connection to the documents.
pub(crate) struct Backend(Mutex<TcpStream>);

impl Backend {
    pub(crate) async fn connect(address: &str) -> io::Result<Backend> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Backend(Mutex::new(stream)))
    }

    async fn ask(&self, request: Request) -> Result<Answer, CasError> {
        let mut stream = self.0.lock().await;
        let exchange = async {
            send(&mut stream, &request).await?;
            receive(&mut stream).await
        };
        exchange.await.map_err(|error: io::Error| CasError::Ambiguous(Arc::new(error)))
    }

    async fn write(&self, request: Request) -> Result<Cas, CasError> {
        match self.ask(request).await? {
            Answer::Written(cas) => Ok(Cas(cas)),
            _ => Err(CasError::Mismatch),
        }
    }
}

impl CasBackend for Backend {
    async fn get(&self, key: &DocKey) -> Result<Option<CasDocument>, CasError> {
        let answer = self.ask(Request::Get(key.as_str().to_owned())).await?;
        let Answer::Found(found) = answer else { return Err(CasError::Mismatch) };
        Ok(found.map(|document| CasDocument {
            cas: Cas(document.cas),
            body: document.body.into(),
            meta: document.meta.into(),
        }))
    }

    async fn insert(&self, key: &DocKey, body: Bytes, meta: Bytes) -> Result<Cas, CasError> {
        let (key, body, meta) = (key.as_str().to_owned(), body.to_vec(), meta.to_vec());
        self.write(Request::Insert { key, body, meta }).await
    }

    async fn replace(
        &self,
        key: &DocKey,
        cas: Cas,
        body: Option<Bytes>,
        meta: Bytes,
    ) -> Result<Cas, CasError> {
        let (key, meta) = (key.as_str().to_owned(), meta.to_vec());
        let body = body.map(|body| body.to_vec());
        self.write(Request::Replace { key, cas: cas.0, body, meta }).await
    }

    async fn remove(&self, key: &DocKey, cas: Cas) -> Result<(), CasError> {
        let request = Request::Remove { key: key.as_str().to_owned(), cas: cas.0 };
        self.write(request).await.map(|_| ())
    }
}

async fn send(stream: &mut TcpStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_le_bytes()[..], &bytes].concat()).await
}

async fn receive<T: for<'de> Deserialize<'de>>(stream: &mut TcpStream) -> io::Result<T> {
    let length = stream.read_u32_le().await?;
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}
