//! One connection: reading requests, answering them, and what a fault does to it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::packet::{Answer, Request, Status, op};
use super::session::{Session, is_about_document};
use super::{DataServer, Effect, Shared};

/// What becomes of a connection after a request.
enum Next {
    Answer(Bytes),
    Silence,
    /// The connection ends after half of the answer.
    Cut(Bytes),
}

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
                    connections.spawn(greet(stream, tls.clone(), server, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn greet(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    server: DataServer,
    shared: Arc<Shared>,
) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(stream, server, shared).await,
        // Who does not trust the certificate goes away.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, server, shared).await;
            }
        }
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    server: DataServer,
    shared: Arc<Shared>,
) {
    let mut session = Session::new(server);
    let mut buffer = BytesMut::with_capacity(4096);
    // Slow requests come back here when their time has come; others do not wait for them.
    let (slow, mut ripe) = mpsc::unbounded_channel::<Request>();
    loop {
        let request = tokio::select! {
            Some(request) = ripe.recv() => Some((request, None)),
            read = stream.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => None,
            },
        };
        let mut request = request;
        loop {
            let (request, effect) = match request.take() {
                Some(ripe) => ripe,
                None => match Request::take(&mut buffer) {
                    Ok(Some(request)) => {
                        let counted = (server, op::name(request.opcode));
                        *shared.requests().entry(counted).or_default() += 1;
                        let strikes = is_about_document(&request);
                        let effect = strikes.then(|| shared.faults.strike(&request)).flatten();
                        (request, effect)
                    }
                    Ok(None) => break,
                    Err(_malformed) => return,
                },
            };
            if let Some(Effect::Slow(time)) = effect {
                let slow = slow.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    let _ = slow.send(request);
                });
                continue;
            }
            let written = match handle(&mut session, &shared, &request, effect) {
                // What TLS has encrypted lies in a buffer of its own until it is flushed.
                Next::Answer(bytes) => match stream.write_all(&bytes).await {
                    Ok(()) => stream.flush().await,
                    failed => failed,
                },
                Next::Silence => Ok(()),
                Next::Cut(bytes) => {
                    let _ = stream.write_all(&bytes[..bytes.len() / 2]).await;
                    let _ = stream.flush().await;
                    return;
                }
            };
            if written.is_err() {
                return;
            }
        }
    }
}

fn handle(
    session: &mut Session,
    shared: &Shared,
    request: &Request,
    effect: Option<Effect>,
) -> Next {
    let mut done = |applied: bool| {
        let answer =
            if applied { session.answer(shared, request) } else { Answer::of(Status::SUCCESS) };
        answer.encode(request)
    };
    match effect {
        None | Some(Effect::Slow(_)) => Next::Answer(done(true)),
        Some(Effect::NoAnswer { applied }) => {
            done(applied);
            Next::Silence
        }
        Some(Effect::Cut { applied }) => Next::Cut(done(applied)),
        Some(Effect::Ambiguous { applied }) => {
            // One that was tried and refused is refused; of one that was lost nobody knows.
            let answer =
                if applied { session.answer(shared, request) } else { Answer::of(Status::SUCCESS) };
            let answer = match answer.status {
                Status::SUCCESS => Answer::of(Status::SYNC_WRITE_AMBIGUOUS),
                _ => answer,
            };
            Next::Answer(answer.encode(request))
        }
        Some(Effect::NotMyVbucket) => {
            shared.map().pass_on(request.vbucket);
            Next::Answer(session.not_mine(shared).encode(request))
        }
        Some(refusal) => {
            let status = refusal.refusal().unwrap_or(Status::EINTERNAL);
            Next::Answer(Answer::of(status).encode(request))
        }
    }
}
