//! What holds for all frames: they survive any cut, come back as they were, and bytes that are no
//! frames do no harm.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::ack::{Ack, MAX_BITMAP_CALLS};
use super::frame::{FrameDecoder, put_frame};
use super::handshake::{Hello, HelloMethod, Reject, RejectReason, Welcome, decode_reply};
use super::request::{ClientFrame, RequestHeader};
use super::response::{MIN_SERVER_TIME, RefusalReason, ResponseHeader, ServerFrame, Status};
use crate::id::{Attempt, ClientId, Incarnation, MethodId, Seq, SessionId, SessionSecret};
use crate::schema::Fingerprint;
use crate::store::{AbortReason, Refusal};
use crate::trace::TraceContext;

const MAX_FRAME: usize = 1 << 16;

/// The same cases on every machine; what failed once is kept beside this file.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 512, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

/// What lies behind a frame's length.
fn body(frame: &[u8]) -> &[u8] {
    let prefix = frame.iter().position(|byte| byte & 0x80 == 0).expect("a length ends") + 1;
    &frame[prefix..]
}

fn seq() -> impl Strategy<Value = Seq> {
    prop_oneof![1..1_000u64, any::<u64>().prop_map(|seq| seq.max(1))].prop_map(Seq)
}

fn attempt() -> impl Strategy<Value = Attempt> {
    prop_oneof![Just(1), 2..20u32, 2..=u32::MAX].prop_map(Attempt)
}

/// A bitmap as a client makes it: it does not end in an empty byte.
fn bitmap() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40).prop_map(|mut bitmap| {
        while bitmap.last() == Some(&0) {
            bitmap.pop();
        }
        bitmap
    })
}

prop_compose! {
    fn request()(
        seq in seq(),
        attempt in attempt(),
        age in 0..u64::from(u32::MAX),
        method in any::<u16>(),
        ack in proptest::option::of((any::<u64>(), bitmap())),
        deadline in proptest::option::of(any::<u32>()),
        trace in proptest::option::of(any::<[u8; 25]>()),
        settle: bool,
        arguments in vec(any::<u8>(), 0..300),
    ) -> (Seq, Attempt, u64, u16, Option<(Seq, Vec<u8>)>, Option<u32>, Option<[u8; 25]>, bool, Vec<u8>) {
        let ack = ack.map(|(below, bitmap)| {
            // The distance is sent doubled.
            let below = below % (seq.0.min(u64::MAX >> 1));
            (Seq(seq.0 - below), bitmap)
        });
        (seq, attempt, age, method, ack, deadline, trace, settle, arguments)
    }
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Success),
        Just(Status::BusinessError),
        Just(Status::InProgress),
        Just(Status::Unknown),
        prop::sample::select(vec![
            AbortReason::Deadline,
            AbortReason::Cancelled,
            AbortReason::Failed
        ])
        .prop_map(Status::Aborted),
        prop::sample::select(vec![
            Refusal::Stale,
            Refusal::IdReused,
            Refusal::Fenced,
            Refusal::SessionClosed
        ])
        .prop_map(Status::Never),
        prop::sample::select(vec![
            RefusalReason::Overloaded,
            RefusalReason::ShuttingDown,
            RefusalReason::StoreUnavailable,
            RefusalReason::BadArguments,
            RefusalReason::Failed,
            RefusalReason::TooLarge,
            RefusalReason::Deadline,
            RefusalReason::Cancelled,
        ])
        .prop_map(Status::Refused),
    ]
}

prop_compose! {
    fn session()(
        client: u64,
        incarnation: u32,
        secret: [u8; 16],
    ) -> (SessionId, SessionSecret) {
        let session = SessionId { client: ClientId(client), incarnation: Incarnation(incarnation) };
        (session, SessionSecret(secret))
    }
}

prop_compose! {
    fn hello()(
        service in "[a-zA-Z0-9_é]{0,60}",
        session in proptest::option::of(session()),
        deadline in any::<u32>(),
        max_frame in any::<u32>(),
        methods in vec((0..4096u16, "[a-z_]{0,30}", any::<u64>()), 0..40),
    ) -> Hello {
        let methods = methods.into_iter().map(|(id, name, fingerprint)| HelloMethod {
            id: MethodId(id),
            name,
            fingerprint: Fingerprint(fingerprint),
        });
        Hello {
            service,
            session,
            default_deadline: Duration::from_millis(u64::from(deadline)),
            max_frame: max_frame as usize,
            methods: methods.collect(),
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn frames_survive_any_chunking(
        bodies in vec(vec(any::<u8>(), 1..400), 0..20),
        chunks in vec(1..200usize, 1..50),
    ) {
        let mut stream = Vec::new();
        for body in &bodies {
            put_frame(&mut stream, |out| out.extend_from_slice(body));
        }
        let mut decoder = FrameDecoder::new(MAX_FRAME);
        let mut seen = Vec::new();
        let mut rest = &stream[..];
        let mut sizes = chunks.iter().cycle();
        while !rest.is_empty() {
            let (mut chunk, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            rest = later;
            let mut finished = Vec::new();
            while let Some(frame) = decoder.next(&mut chunk, &mut finished).unwrap() {
                seen.push(frame.to_vec());
            }
            prop_assert!(chunk.is_empty(), "all of a chunk is taken");
        }
        prop_assert_eq!(seen, bodies);
    }

    #[test]
    fn requests_come_back_as_they_were(
        (seq, attempt, age, method, ack, deadline, trace, settle, arguments) in request(),
    ) {
        let ack = ack.as_ref().map(|(watermark, bitmap)| Ack::new(*watermark, bitmap));
        let age = if attempt.is_retry() { age } else { 0 };
        let header = RequestHeader {
            seq,
            attempt,
            age: Duration::from_millis(age),
            method: MethodId(method),
            ack,
            deadline: deadline.map(|millis| Duration::from_millis(u64::from(millis))),
            trace: trace.map(TraceContext::from_bytes),
            settle,
        };
        let mut out = Vec::new();
        header.put(&arguments, &mut out);
        let decoded = ClientFrame::decode(body(&out)).unwrap();
        prop_assert_eq!(decoded, ClientFrame::Request(header, &arguments));
    }

    #[test]
    fn lone_client_frames_come_back_as_they_were(
        watermark in 1..=u64::MAX >> 1,
        bitmap in bitmap(),
        cancelled in seq(),
    ) {
        for frame in [
            ClientFrame::Ack(Ack::new(Seq(watermark), &bitmap)),
            ClientFrame::Cancel(cancelled),
            ClientFrame::Ping,
            ClientFrame::Bye,
        ] {
            let mut out = Vec::new();
            frame.put(&mut out);
            prop_assert_eq!(ClientFrame::decode(body(&out)).unwrap(), frame);
        }
    }

    #[test]
    fn responses_come_back_as_they_were(
        seq in seq(),
        attempt in attempt(),
        flags in any::<(bool, bool)>(),
        status in status(),
        micros in prop_oneof![Just(0), 100..10_000_000u64],
        payload in vec(any::<u8>(), 0..300),
    ) {
        let server_time = Duration::from_micros(micros);
        prop_assert!(micros == 0 || server_time >= MIN_SERVER_TIME);
        let (resend, committed) = flags;
        let header = ResponseHeader { seq, attempt, resend, committed, status, server_time };
        let mut out = Vec::new();
        header.put(&payload, &mut out);
        let decoded = ServerFrame::decode(body(&out)).unwrap();
        prop_assert_eq!(decoded, ServerFrame::Response(header, &payload));
    }

    #[test]
    fn handshakes_come_back_as_they_were(
        hello in hello(),
        (session, secret) in session(),
        lease in any::<u32>(),
        window in 1..=MAX_BITMAP_CALLS as u32,
        max_frame in any::<u32>(),
        message in "[a-z é]{0,300}",
    ) {
        let mut out = Vec::new();
        hello.put(&mut out);
        prop_assert_eq!(Hello::decode(body(&out)).unwrap(), hello);
        let welcome = Welcome {
            session,
            secret,
            lease: Duration::from_millis(u64::from(lease)),
            window,
            max_frame: max_frame as usize,
        };
        let mut out = Vec::new();
        welcome.put(&mut out);
        prop_assert_eq!(decode_reply(body(&out)).unwrap(), Ok(welcome));
        let reject = Reject { reason: RejectReason::Overloaded, message };
        let mut out = Vec::new();
        reject.put(&mut out);
        prop_assert_eq!(decode_reply(body(&out)).unwrap(), Err(reject));
    }

    #[test]
    fn noise_is_an_error_and_nothing_more(noise in vec(any::<u8>(), 0..300), kind in 0..8u8) {
        decode_all(&noise);
        // Past the first byte, too.
        let mut tail = noise;
        if let Some(first) = tail.first_mut() {
            *first = *first & !0b111 | kind;
        }
        decode_all(&tail);
        let mut hello = b"\0\x31rpc\x01".to_vec();
        hello.append(&mut tail);
        decode_all(&hello);
    }

    #[test]
    fn a_damaged_frame_is_another_frame_or_an_error(
        hello in hello(),
        (seq, attempt, age, method, ack, deadline, trace, settle, arguments) in request(),
        at in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
    ) {
        let ack = ack.as_ref().map(|(watermark, bitmap)| Ack::new(*watermark, bitmap));
        let header = RequestHeader {
            seq,
            attempt,
            age: Duration::from_millis(age),
            method: MethodId(method),
            ack,
            deadline: deadline.map(|millis| Duration::from_millis(u64::from(millis))),
            trace: trace.map(TraceContext::from_bytes),
            settle,
        };
        let mut out = Vec::new();
        header.put(&arguments, &mut out);
        let at_byte = at.index(out.len());
        out[at_byte] ^= flip;
        decode_stream(&out);
        let mut out = Vec::new();
        hello.put(&mut out);
        let at_byte = at.index(out.len());
        out[at_byte] ^= flip;
        decode_stream(&out);
        decode_all(body_or_all(&out));
    }

    #[test]
    fn a_stream_of_noise_holds_no_more_than_came(noise in vec(any::<u8>(), 0..2_000)) {
        decode_stream(&noise);
    }
}

/// Decodes bytes as every kind of frame body. What is decoded holds no more than came in.
fn decode_all(bytes: &[u8]) {
    if let Ok(hello) = Hello::decode(bytes) {
        // A number, a name's length and a fingerprint: ten bytes at least.
        assert!(hello.methods.len() * 10 <= bytes.len());
        assert!(hello.methods.capacity() <= hello.methods.len().max(2) * 2);
        assert!(hello.service.capacity() <= bytes.len());
    }
    if let Ok(Err(reject)) = decode_reply(bytes) {
        assert!(reject.message.capacity() <= bytes.len());
    }
    if bytes.is_empty() {
        return;
    }
    if let Ok(
        ClientFrame::Request(RequestHeader { ack: Some(ack), .. }, _) | ClientFrame::Ack(ack),
    ) = ClientFrame::decode(bytes)
    {
        assert!(ack.above().count() <= bytes.len() * 8);
    }
    let _no_allocation = ServerFrame::decode(bytes);
}

/// Cuts a stream into frames, byte by byte, and decodes them.
fn decode_stream(stream: &[u8]) {
    let mut decoder = FrameDecoder::new(MAX_FRAME);
    for (count, byte) in stream.iter().enumerate() {
        let mut input = std::slice::from_ref(byte);
        let mut finished = Vec::new();
        match decoder.next(&mut input, &mut finished) {
            Ok(Some(frame)) => decode_all(frame),
            Ok(None) => {}
            Err(_) => return,
        }
        let grown = 2 * (count + 1);
        assert!(decoder.held() <= grown.max(16), "{} bytes held after {count}", decoder.held());
    }
}

fn body_or_all(frame: &[u8]) -> &[u8] {
    let prefix = frame.iter().position(|byte| byte & 0x80 == 0);
    prefix.map_or(frame, |prefix| &frame[prefix + 1..])
}
