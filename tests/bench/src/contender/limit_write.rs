//! What the machine allows for a write: the hand-written frames of `limit.rs` with ids and
//! acknowledgements; a server that finds duplicates, keeps its answers until they are acknowledged,
//! and keeps accounts as JSON in a hash map. No retries, no sessions that outlive a connection, no
//! other store, no other service.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use tokio::net::TcpListener;

use super::limit::{Calls, Connection, Writer, answer_frames, connect_with};
use super::ours::{Account, name_of};
use crate::work::NAME;

/// A request: its number and the first unanswered one (8 bytes each), two names of 16 bytes behind
/// their length, an amount (8 bytes).
const REQUEST: usize = 8 + 8 + 17 + 17 + 8;
/// A response: its number, id and balance (8 bytes each).
const RESPONSE: usize = 8 + 8 + 8;

type Accounts = Arc<Mutex<HashMap<String, (u64, Vec<u8>), foldhash::fast::RandomState>>>;

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let accounts = Accounts::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut session = Session { accounts: Arc::clone(&accounts), ..Session::default() };
        tokio::spawn(answer_frames::<REQUEST>(stream, move |request, output| {
            session.handle(request, output);
        }));
    }
}

/// What is known of one client's calls.
#[derive(Default)]
struct Session {
    /// The first call that is not acknowledged.
    base: u64,
    /// Of the calls from there on.
    answered: VecDeque<Answered>,
    accounts: Accounts,
}

/// A call that was answered, and with what.
struct Answered {
    hash: u64,
    id: u64,
    balance: u64,
}

impl Session {
    fn handle(&mut self, request: &[u8], output: &mut Vec<u8>) {
        let (seq, acknowledged) = (number(request, 0), number(request, 8));
        while self.base < acknowledged && self.answered.pop_front().is_some() {
            self.base += 1;
        }
        let hash = xxhash_rust::xxh3::xxh3_64(&request[16..]);
        let index = seq.wrapping_sub(self.base) as usize;
        if index == self.answered.len() {
            let (id, balance) = self.add(&request[16..]);
            self.answered.push_back(Answered { hash, id, balance });
        }
        // One that is neither new nor known, or another one under its number, is not answered.
        let Some(known) = self.answered.get(index).filter(|known| known.hash == hash) else {
            return;
        };
        for number in [seq, known.id, known.balance] {
            output.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn add(&self, arguments: &[u8]) -> (u64, u64) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a name is text");
        let (from, to) = (text(&arguments[1..17]), text(&arguments[18..34]));
        std::hint::black_box(to);
        let mut accounts = self.accounts.lock().expect("nobody has panicked");
        let document = accounts.entry(from).or_insert_with(|| (0, br#"{"balance":0}"#.to_vec()));
        let mut account: Account = serde_json::from_slice(&document.1).expect("it is an account");
        account.balance += number(arguments, 34);
        let body = serde_json::to_vec(&account).expect("an account can be written");
        *document = (document.0 + 1, body);
        (7, account.balance)
    }
}

#[derive(Default)]
pub(crate) struct Numbered {
    writer: Writer,
    /// The first call that is not over.
    base: u64,
    /// The calls from there on.
    pending: VecDeque<Pending>,
}

#[derive(Default)]
struct Pending {
    waker: Option<Waker>,
    answer: Option<(u64, u64)>,
    is_over: bool,
}

impl Calls for Numbered {
    fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    fn handle_response(&mut self, response: &[u8]) {
        let call = &mut self.pending[(number(response, 0) - self.base) as usize];
        call.answer = Some((number(response, 8), number(response, 16)));
        if let Some(waker) = call.waker.take() {
            waker.wake();
        }
    }
}

pub(crate) async fn connect(address: &str) -> Result<Rc<Connection<Numbered>>, Box<dyn Error>> {
    connect_with::<Numbered, RESPONSE>(address).await
}

/// Adds to the account of a caller.
pub(crate) async fn write(connection: &Connection<Numbered>, caller: usize) {
    let (from, to) = (name_of(caller), NAME.to_owned());
    let seq = {
        let mut calls = connection.calls.borrow_mut();
        let (seq, base) = (calls.base + calls.pending.len() as u64, calls.base);
        calls.pending.push_back(Pending::default());
        calls.writer.put(|output| {
            output.extend_from_slice(&seq.to_le_bytes());
            output.extend_from_slice(&base.to_le_bytes());
            for name in [&from, &to] {
                output.push(name.len() as u8);
                output.extend_from_slice(name.as_bytes());
            }
            output.extend_from_slice(&100u64.to_le_bytes());
        });
        seq
    };
    let answer = std::future::poll_fn(|context| {
        let mut calls = connection.calls.borrow_mut();
        let index = (seq - calls.base) as usize;
        let call = &mut calls.pending[index];
        let Some(answer) = call.answer.take() else {
            call.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        call.is_over = true;
        while calls.pending.front().is_some_and(|call| call.is_over) {
            calls.pending.pop_front();
            calls.base += 1;
        }
        Poll::Ready(answer)
    })
    .await;
    std::hint::black_box(answer);
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
