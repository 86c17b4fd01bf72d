//! What the machine allows: hand-written frames, a slot per call, a task per caller, one read and
//! one write per wake-up. No ids that survive, no duplicates found, no acknowledgements.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::work::NAME;

/// A request: its slot (4 bytes), two names of 16 bytes behind their length, an amount (8 bytes).
pub(super) const REQUEST: usize = 4 + 17 + 17 + 8;
/// A response: its slot (4 bytes), id and balance (8 bytes each).
pub(super) const RESPONSE: usize = 4 + 8 + 8;
pub(super) const READ_BYTES: usize = 16 << 10;

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(answer_frames::<REQUEST>(stream, answer));
    }
}

fn answer(request: &[u8], output: &mut Vec<u8>) {
    let names = [&request[4..21], &request[21..38]];
    let [from, to] = names.map(|name| String::from_utf8_lossy(&name[1..]).into_owned());
    let amount = u64::from_le_bytes(request[38..].try_into().expect("eight bytes"));
    let balance = std::hint::black_box((from, to, amount)).2;
    output.extend_from_slice(&request[..4]);
    output.extend_from_slice(&7u64.to_le_bytes());
    output.extend_from_slice(&balance.to_le_bytes());
}

/// Answers all requests of a size that one read brings with one write.
pub(super) async fn answer_frames<const SIZE: usize>(
    mut stream: TcpStream,
    mut answer: impl FnMut(&[u8], &mut Vec<u8>),
) -> io::Result<()> {
    let mut input = vec![0; READ_BYTES];
    let mut kept = 0;
    let mut output = Vec::new();
    loop {
        let count = stream.read(&mut input[kept..]).await?;
        if count == 0 {
            return Ok(());
        }
        let end = kept + count;
        let whole = end - end % SIZE;
        for request in input[..whole].chunks_exact(SIZE) {
            answer(request, &mut output);
        }
        input.copy_within(whole..end, 0);
        kept = end - whole;
        stream.write_all(&output).await?;
        output.clear();
    }
}

/// A client's connection, shared by its callers.
pub(crate) struct Connection<C> {
    pub(super) calls: RefCell<C>,
}

/// The calls of a client.
pub(super) trait Calls: Default + 'static {
    fn writer(&mut self) -> &mut Writer;
    /// Takes a response, and wakes who waits for it.
    fn handle_response(&mut self, response: &[u8]);
}

#[derive(Default)]
pub(crate) struct Slots {
    writer: Writer,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    waker: Option<Waker>,
    answer: Option<(u64, u64)>,
}

impl Calls for Slots {
    fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    fn handle_response(&mut self, bytes: &[u8]) {
        let (slot, id, balance) = response(bytes);
        let slot = &mut self.slots[slot as usize];
        slot.answer = Some((id, balance));
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

pub(crate) async fn connect(address: &str) -> Result<Rc<Connection<Slots>>, Box<dyn Error>> {
    connect_with::<Slots, RESPONSE>(address).await
}

/// Connects a client whose responses have this size.
pub(super) async fn connect_with<C: Calls, const SIZE: usize>(
    address: &str,
) -> Result<Rc<Connection<C>>, Box<dyn Error>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connection = Rc::new(Connection { calls: RefCell::default() });
    let (reading, writing) = stream.into_split();
    tokio::task::spawn_local(take_frames::<C, SIZE>(Rc::clone(&connection), reading));
    tokio::task::spawn_local(write_all(Rc::clone(&connection), writing));
    Ok(connection)
}

/// Takes all responses that one read brings.
async fn take_frames<C: Calls, const SIZE: usize>(
    connection: Rc<Connection<C>>,
    mut reading: OwnedReadHalf,
) {
    let mut input = vec![0; READ_BYTES];
    let mut kept = 0;
    while let Ok(count @ 1..) = reading.read(&mut input[kept..]).await {
        let end = kept + count;
        let whole = end - end % SIZE;
        let mut calls = connection.calls.borrow_mut();
        input[..whole].chunks_exact(SIZE).for_each(|frame| calls.handle_response(frame));
        drop(calls);
        input.copy_within(whole..end, 0);
        kept = end - whole;
    }
}

/// Writes all there is with one write.
async fn write_all<C: Calls>(
    connection: Rc<Connection<C>>,
    mut writing: OwnedWriteHalf,
) -> io::Result<()> {
    let mut output = Vec::new();
    loop {
        std::future::poll_fn(|context| {
            let mut calls = connection.calls.borrow_mut();
            let writer = calls.writer();
            if writer.output.is_empty() {
                writer.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            std::mem::swap(&mut writer.output, &mut output);
            Poll::Ready(())
        })
        .await;
        writing.write_all(&output).await?;
        output.clear();
    }
}

/// What is to be written, and who writes it.
#[derive(Default)]
pub(super) struct Writer {
    output: Vec<u8>,
    waker: Option<Waker>,
}

impl Writer {
    pub(super) fn put(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.output);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

pub(crate) async fn call(connection: &Connection<Slots>) {
    let (from, to) = (NAME.to_owned(), NAME.to_owned());
    let slot = {
        let mut calls = connection.calls.borrow_mut();
        let slot = calls.free.pop().unwrap_or(calls.slots.len() as u32);
        if slot as usize == calls.slots.len() {
            calls.slots.push(Slot::default());
        }
        calls.writer.put(|output| put_request(output, slot, [&from, &to]));
        slot
    };
    let answer = std::future::poll_fn(|context| {
        let mut calls = connection.calls.borrow_mut();
        let found = &mut calls.slots[slot as usize];
        match found.answer.take() {
            Some(answer) => {
                calls.free.push(slot);
                Poll::Ready(answer)
            }
            None => {
                found.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await;
    std::hint::black_box(answer);
}

pub(super) fn put_request(output: &mut Vec<u8>, slot: u32, names: [&str; 2]) {
    output.extend_from_slice(&slot.to_le_bytes());
    for name in names {
        output.push(name.len() as u8);
        output.extend_from_slice(name.as_bytes());
    }
    output.extend_from_slice(&100u64.to_le_bytes());
}

/// Takes apart a response: its slot, id and balance.
pub(super) fn response(bytes: &[u8]) -> (u32, u64, u64) {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let slot = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
    (slot, number(4), number(12))
}
