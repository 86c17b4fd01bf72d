//! Beside Restate, whose server keeps calls in a log of its own and asks a handler to do the work.
//!
//! Its server and its SDK are not built here: `npm install @restatedev/restate-server
//! @restatedev/restate-sdk node@22` puts them into a directory, which `--peer` names. The handler
//! (`handler.js`) runs in node; callers speak HTTP/1.1, a connection each (`http.rs`), and give each
//! call an idempotency key. Our server is pinned to a core; theirs and the handler use all of them.

mod http;
mod peer;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use self::peer::Restate;
use crate::contender::ours::{self, account_name, transfer};
use crate::process::{Program, Server};
use crate::table::{load_average, median, progress, thousands};
use crate::work::{Contender, IN_FLIGHT};

/// Before it is measured, each work is done for a while: node compiles what runs often.
const WARM_UP: Duration = Duration::from_secs(4);
const WARM_UP_IN_FLIGHT: usize = 64;

/// What `restate` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where npm has installed @restatedev/restate-server and @restatedev/restate-sdk.
    #[arg(long)]
    peer: PathBuf,
    /// Rounds; the median of each figure is shown.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// How long each measurement of a round takes.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    millis: u64,
    /// How often its server is killed afterwards.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    deaths: u32,
}

/// What a handler of Restate does.
#[derive(Clone, Copy)]
enum Work {
    /// Keeps nothing beside the call itself.
    Nothing,
    /// One durable step.
    Step,
    /// The write of the other contenders: the state of an object.
    Write,
}

impl Work {
    const ALL: [Work; 3] = [Work::Nothing, Work::Step, Work::Write];

    fn name(self) -> &'static str {
        match self {
            Work::Nothing => "Restate, nothing durable inside",
            Work::Step => "Restate, one durable step",
            Work::Write => "Restate, an object's state",
        }
    }

    fn path(self, caller: u64) -> String {
        match self {
            Work::Nothing => "/Plain/nothing".to_owned(),
            Work::Step => "/Plain/step".to_owned(),
            Work::Write => format!("/Account/{}/write", account_name(caller)),
        }
    }
}

#[derive(Clone, Copy)]
struct Measured {
    per_second: f64,
    p50_micros: f64,
}

/// One round with so many calls in flight.
struct Round {
    ours: Measured,
    theirs: [Measured; Work::ALL.len()],
}

/// All rounds with so many calls in flight.
struct Rounds {
    in_flight: usize,
    each: Vec<Round>,
}

/// Measures and prints tables as Markdown.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let load = load_average();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (measured, deaths) = runtime.block_on(LocalSet::new().run_until(measure(arguments)))?;
    println!(
        "Medians of {} interleaved rounds of {} ms; load of the last minute before: {load}.\n",
        arguments.rounds, arguments.millis
    );
    print(&measured);
    verdict(&measured);
    let worst = deaths.iter().copied().fold(0.0, f64::max);
    println!("\n| its server, killed and started again at once: until a call is served | ms |");
    println!("| --- | ---: |\n| median | {:.0} |", median(deaths.into_iter()));
    println!("| longest of {} | {worst:.0} |", arguments.deaths);
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<(Vec<Rounds>, Vec<f64>), Box<dyn Error>> {
    let time = Duration::from_millis(arguments.millis);
    let mut restate = Restate::start(&arguments.peer).await?;
    let server = Server::start(&Program::this()?, Contender::WriteEmbedded)?;
    let bar = progress((arguments.rounds + arguments.deaths) as usize);
    let mut measured = IN_FLIGHT.map(|in_flight| Rounds { in_flight, each: Vec::new() });
    for work in Work::ALL {
        restate.load(work, WARM_UP_IN_FLIGHT, WARM_UP).await?;
    }
    for _ in 0..arguments.rounds {
        for rounds in &mut measured {
            let ours = load_ours(&server.address, rounds.in_flight, time).await?;
            let mut theirs = [ours; Work::ALL.len()];
            for (measured, work) in theirs.iter_mut().zip(Work::ALL) {
                *measured = restate.load(work, rounds.in_flight, time).await?;
            }
            rounds.each.push(Round { ours, theirs });
        }
        bar.inc(1);
    }
    let mut deaths = Vec::new();
    for _ in 0..arguments.deaths {
        deaths.push(restate.die().await?.as_secs_f64() * 1e3);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((measured.into(), deaths))
}

impl Rounds {
    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(self.each.iter().map(figure))
    }
}

fn print(measured: &[Rounds]) {
    println!("| in flight | contender | calls/s | p50 µs | ours, × its calls/s | our p50, × its |");
    println!("| ---: | --- | ---: | ---: | ---: | ---: |");
    for rounds in measured {
        let row = |name: &str, of: &dyn Fn(&Round) -> Measured| {
            println!(
                "| {} | {name} | {} | {:.0} | {:.1} | {:.3} |",
                rounds.in_flight,
                thousands(rounds.median(|round| of(round).per_second)),
                rounds.median(|round| of(round).p50_micros),
                rounds.median(|round| round.ours.per_second / of(round).per_second),
                rounds.median(|round| round.ours.p50_micros / of(round).p50_micros),
            );
        };
        row("write-embedded", &|round| round.ours);
        for (at, work) in Work::ALL.into_iter().enumerate() {
            row(work.name(), &|round| round.theirs[at]);
        }
    }
}

fn verdict(measured: &[Rounds]) {
    println!("\n| target | asked | reached | |\n| --- | ---: | ---: | --- |");
    let holds = |holds| if holds { "holds" } else { "**does not hold**" };
    for (at, work) in Work::ALL.into_iter().enumerate() {
        let name = work.name();
        for rounds in measured {
            let in_flight = rounds.in_flight;
            if in_flight == 1 {
                let p50 =
                    rounds.median(|round| round.ours.p50_micros / round.theirs[at].p50_micros);
                println!(
                    "| {name}, at 1: our p50 × its | ≤ 0.1 | {p50:.3} | {} |",
                    holds(p50 <= 0.1)
                );
            } else {
                let times =
                    rounds.median(|round| round.ours.per_second / round.theirs[at].per_second);
                println!(
                    "| {name}, at {in_flight}: our calls/s × its | ≥ 20 | {times:.1} | {} |",
                    holds(times >= 20.0)
                );
            }
        }
    }
}

async fn load_ours(
    address: &str,
    in_flight: usize,
    time: Duration,
) -> Result<Measured, Box<dyn Error>> {
    let client = ours::connect(address).await?;
    let callers = (0..in_flight as u64).map(|caller| {
        let client = client.clone();
        async move || match transfer(&client, caller).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    });
    drive(callers.collect(), time).await
}

/// Lets each caller make one call after the other, for this long. Calls that end later, which with
/// many slow ones would fill the time badly, do not count for the rate.
async fn drive(
    callers: Vec<impl AsyncFnMut() -> Result<(), String> + 'static>,
    time: Duration,
) -> Result<Measured, Box<dyn Error>> {
    let start = Instant::now();
    let running: Vec<_> = callers
        .into_iter()
        .map(|mut call| {
            tokio::task::spawn_local(async move {
                let (mut each, mut in_time) = (Vec::new(), 0u64);
                while start.elapsed() < time {
                    let begun = Instant::now();
                    call().await?;
                    each.push(begun.elapsed().as_secs_f64() * 1e6);
                    in_time += u64::from(start.elapsed() <= time);
                }
                Ok::<_, String>((each, in_time))
            })
        })
        .collect();
    let (mut all, mut in_time) = (Vec::new(), 0);
    for caller in running {
        let (each, calls) = caller.await??;
        all.extend(each);
        in_time += calls;
    }
    let per_second = in_time as f64 / time.as_secs_f64();
    Ok(Measured { per_second, p50_micros: median(all.into_iter()) })
}
