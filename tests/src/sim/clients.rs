//! The clients of a world: real clients on the simulated network.

use std::sync::Arc;
use std::time::Duration;

use bank_business::BankClient;
use rpc::client::Stub as _;
use rpc::{Client, ClientConfig};
use tokio::task::JoinSet;

use super::caller::Caller;
use super::hub::Hub;
use super::journal::Disk;
use super::plan::ComesBack;
use super::socket::{Wire, address};
use super::store::NOBODY;

/// How much longer than its deadline a call may take to learn how it ended.
pub(super) const SETTLE_GRACE: Duration = Duration::from_millis(500);
/// How long a client tries to reach a server before it tries anew.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long a client may take to settle its calls at its end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Settings that let little time go by: worlds are many.
fn config(hub: &Hub, client: u8, life: u32) -> ClientConfig {
    let seed = hub.plan.seed ^ u64::from(client) << 8 ^ u64::from(life) << 16;
    ClientConfig::default()
        .seed(Some(seed))
        .settle_grace(SETTLE_GRACE)
        .initial_timeout(Duration::from_millis(60))
        .min_timeout(Duration::from_millis(20))
        .max_timeout(Duration::from_millis(500))
        .retries_per_second(50)
        .ack_delay(Duration::from_millis(20))
        .probe_interval(Duration::from_millis(50))
        .silence_limit(Duration::from_secs(1))
        .connect_timeout(Duration::from_millis(500))
        .max_backoff(Duration::from_millis(300))
        .keepalive(Duration::from_millis(hub.plan.keepalive_ms.into()))
}

/// One life of a client: connects, makes its calls, and goes when all of them have ended.
pub(super) async fn live(hub: Arc<Hub>, client: u8, life: u32) {
    let plan = &hub.plan.clients[usize::from(client)];
    let calls = hub.with(|state| state.calls.to_make(client));
    let told = hub.with(|state| state.calls.told_in_earlier_lives(client, life));
    if calls.is_empty() && told.is_empty() {
        return;
    }
    let bank = connect(&hub, client, life).await;
    // The first call that is new is made at once, and those of an earlier life are.
    let began = hub.with(|state| {
        let calls = calls.iter().map(|number| &state.calls.all[usize::from(*number)]);
        let first_at =
            calls.filter(|call| call.invoked.is_none()).map(|call| call.plan.at_ms).min();
        state.now.saturating_sub(u64::from(first_at.unwrap_or(u32::MAX)))
    });
    let mut callers = JoinSet::new();
    for (number, known) in told {
        let caller = Caller { hub: Arc::clone(&hub), bank: bank.clone(), client, life, number };
        callers.spawn(caller.run_again(known));
    }
    for number in calls {
        let at =
            hub.with(|state| began + u64::from(state.calls.all[usize::from(number)].plan.at_ms));
        tokio::time::sleep_until(hub.instant(at)).await;
        let caller = Caller { hub: Arc::clone(&hub), bank: bank.clone(), client, life, number };
        callers.spawn(caller.run());
    }
    while let Some(ended) = callers.join_next().await {
        if ended.is_err_and(|error| error.is_panic()) {
            hub.with(|state| state.fail("nothing panics", || "a caller panicked".to_owned()));
        }
    }
    if plan.closes {
        bank.client().clone().shutdown(CLOSE_LIMIT).await;
    }
}

async fn connect(hub: &Arc<Hub>, client: u8, life: u32) -> BankClient {
    let knows = hub.plan.clients[usize::from(client)].knows;
    let servers: Vec<String> =
        (0..hub.plan.servers).filter(|server| knows & 1 << server != 0).map(address).collect();
    let mut tries = 0;
    loop {
        let wire = Wire { hub: Arc::clone(hub), client, life };
        tries += 1;
        let clock = Arc::clone(hub);
        let mut builder = Client::builder()
            .config(config(hub, client, life << 8 | tries))
            .connector(wire)
            .wall_clock(move || clock.wall(NOBODY))
            .connect_limit(CONNECT_LIMIT);
        if hub.plan.clients[usize::from(client)].comes_back == ComesBack::Remembering {
            builder = builder.journal(Disk { hub: Arc::clone(hub), client, life });
        }
        match builder.connect::<BankClient>(servers.clone()).await {
            Ok(bank) => return bank,
            Err(error) => {
                let text = error.to_string();
                hub.with(|state| state.note(|| format!("c{client} is not connected: {text}")));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
