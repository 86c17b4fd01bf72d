//! One connection: reading requests, answering them, and what a fault does to it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::packet::{Answer, Request, Status, op};
use super::session::{Session, is_about_document};
use super::{Effect, Shared};

/// What becomes of a connection after a request.
enum Next {
    Answer(Bytes),
    Silence,
    /// The connection ends after half of the answer.
    Cut(Bytes),
}

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut session = Session::default();
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
                        *shared.requests().entry(op::name(request.opcode)).or_default() += 1;
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
                Next::Answer(bytes) => stream.write_all(&bytes).await,
                Next::Silence => Ok(()),
                Next::Cut(bytes) => {
                    let _ = stream.write_all(&bytes[..bytes.len() / 2]).await;
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
            shared.change_map();
            Next::Answer(session.not_mine(shared).encode(request))
        }
        Some(refusal) => {
            let status = refusal.refusal().unwrap_or(Status::EINTERNAL);
            Next::Answer(Answer::of(status).encode(request))
        }
    }
}
