//! Who is on the other end: PLAIN, and SCRAM-SHA512 (RFC 5802), which the driver uses without TLS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha512};

use super::NodeConfig;
use super::packet::{Answer, Status};

/// The mechanisms, best first.
pub(super) const MECHANISMS: &str = "SCRAM-SHA512 PLAIN";
/// How often the password is hashed. A real server's many rounds protect passwords that are worth
/// something.
const ROUNDS: u32 = 16;
const SALT: &[u8] = b"salt of the tests";
const SERVER_NONCE: &str = "node";

/// A login that is under way.
#[derive(Debug)]
pub(super) struct Login {
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

/// What has come of a step.
pub(super) enum Step {
    Refused,
    Welcome(Answer),
    Continue(Login, Answer),
}

pub(super) fn start(config: &NodeConfig, mechanism: &[u8], payload: &[u8]) -> Step {
    match mechanism {
        b"PLAIN" => {
            let expected = format!("\0{}\0{}", config.user, config.password);
            if payload == expected.as_bytes() {
                Step::Welcome(Answer::of(Status::SUCCESS))
            } else {
                Step::Refused
            }
        }
        b"SCRAM-SHA512" => start_scram(config, payload).unwrap_or(Step::Refused),
        _ => Step::Refused,
    }
}

fn start_scram(config: &NodeConfig, payload: &[u8]) -> Option<Step> {
    let bare = std::str::from_utf8(payload).ok()?.strip_prefix("n,,")?;
    let (user, nonce) = bare.strip_prefix("n=")?.split_once(",r=")?;
    if user.replace("=2C", ",").replace("=3D", "=") != config.user {
        return None;
    }
    let nonce = format!("{nonce}{SERVER_NONCE}");
    let server_first = format!("r={nonce},s={},i={ROUNDS}", STANDARD.encode(SALT));
    let answer = Answer { value: server_first.clone().into(), ..Answer::of(Status::AUTH_CONTINUE) };
    Some(Step::Continue(Login { client_first_bare: bare.to_owned(), server_first, nonce }, answer))
}

pub(super) fn finish(config: &NodeConfig, login: &Login, payload: &[u8]) -> Step {
    finish_scram(config, login, payload).map_or(Step::Refused, Step::Welcome)
}

fn finish_scram(config: &NodeConfig, login: &Login, payload: &[u8]) -> Option<Answer> {
    let (without_proof, proof) = std::str::from_utf8(payload).ok()?.rsplit_once(",p=")?;
    if without_proof != format!("c=biws,r={}", login.nonce) {
        return None;
    }
    let message = format!("{},{},{without_proof}", login.client_first_bare, login.server_first);
    let salted = salted_password(config.password.as_bytes());
    let client_key = hmac(&salted, b"Client Key");
    let signature = hmac(&Sha512::digest(&client_key), message.as_bytes());
    let expected: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sig)| key ^ sig).collect();
    if STANDARD.decode(proof).ok()? != expected {
        return None;
    }
    let server_signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());
    Some(Answer::value(format!("v={}", STANDARD.encode(server_signature))))
}

fn salted_password(password: &[u8]) -> Vec<u8> {
    let mut last = hmac(password, &[SALT, &[0, 0, 0, 1]].concat());
    let mut sum = last.clone();
    for _ in 1..ROUNDS {
        last = hmac(password, &last);
        for (sum, byte) in sum.iter_mut().zip(&last) {
            *sum ^= byte;
        }
    }
    sum
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
