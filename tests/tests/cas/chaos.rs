//! The worlds of `rpc_tests::cas_chaos`, seed by seed. `CAS_SEEDS=from..to` runs others than the default;
//! a failure names its seed.

fn seeds() -> std::ops::Range<u64> {
    let chosen = std::env::var("CAS_SEEDS").ok();
    let parsed = chosen.as_deref().and_then(|chosen| {
        let (from, to) = chosen.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    parsed.unwrap_or(0..300)
}

#[test]
fn every_call_is_applied_exactly_once() {
    for seed in seeds() {
        if let Err(what) = rpc_tests::cas_chaos::run(seed) {
            panic!("seed {seed}: {what}: repeat it with CAS_SEEDS={seed}..{}", seed + 1);
        }
    }
}
