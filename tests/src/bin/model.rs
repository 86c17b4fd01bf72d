//! Exhausts the model of the store protocol, and looks for what broken rules do in it.
//!
//! ```text
//! cargo run --release -p rpc-tests --bin model -- --help
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rpc_tests::model::{
    Configuration, Limits, MAX_STATES, Report, SeededBug, Verdict, Violation, all, bug_named,
    exhaust, find, named, seeded_bugs,
};

/// Looks at every state that a small world of clients, servers, store and faults can get into.
///
/// Each configuration is a world: a few calls, their attempts on two or three servers, and how many
/// crashes, zombies, lost and late messages, ambiguous answers and so on there may be, at any step.
/// In every state every property must hold: each call is applied at most once; what a client is told
/// is so; all attempts have one outcome; commits and errors rest on what was true; documents show all
/// of a commit or nothing. From every state everything must come to its end, and nothing may go round
/// in a circle, once nothing more goes wrong. docs/model.md has the table of steps and functions.
///
/// Without arguments all configurations are exhausted. Ends with 1 if a property does not hold, a
/// configuration is not exhausted, or a seeded bug is not found.
#[derive(Debug, Parser)]
#[command(group = clap::ArgGroup::new("what").multiple(false))]
struct Arguments {
    /// Names the configurations and the seeded bugs, and does nothing else.
    #[arg(long, group = "what")]
    list: bool,
    /// Exhausts this configuration; may be given more than once.
    #[arg(long, group = "what", value_name = "NAME", value_parser = config)]
    config: Vec<Configuration>,
    /// Exhausts the small configurations only: what the gate runs at every change.
    #[arg(long, group = "what")]
    reduced: bool,
    /// Leaves this rule out and looks for what comes of it; may be given more than once.
    #[arg(long, group = "what", value_name = "NAME", value_parser = bug)]
    bug: Vec<SeededBug>,
    /// Leaves out one rule after the other; each must be found.
    #[arg(long, group = "what")]
    bugs: bool,
    /// Says how often each kind of step was taken, over all states.
    #[arg(long)]
    steps: bool,
    /// Gives up a configuration beyond so many unique states: ten to twelve bytes each.
    #[arg(long, default_value_t = MAX_STATES, value_parser = states)]
    max_states: usize,
    /// Gives up exploring after so many minutes altogether.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        list();
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let until = arguments.minutes.map(|minutes| begun + Duration::from_secs(60 * minutes));
    let limits = Limits { max_states: arguments.max_states, until };
    let bugs = if arguments.bugs { seeded_bugs() } else { arguments.bug };
    let well = if bugs.is_empty() {
        let configs = match (arguments.config, arguments.reduced) {
            (some, _) if !some.is_empty() => some,
            (_, true) => all().into_iter().filter(Configuration::is_reduced).collect(),
            _ => all(),
        };
        exhaust_all(&configs, &limits, arguments.steps)
    } else {
        find_all(&bugs, &limits)
    };
    println!(" in {:.1} s", begun.elapsed().as_secs_f64());
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() {
    println!("configurations (* also with --reduced)");
    for config in all() {
        let mark = if config.is_reduced() { '*' } else { ' ' };
        println!("{mark} {:<24} {}", config.name(), config.about());
    }
    println!("\nseeded bugs, and the configuration that finds each");
    for SeededBug { name, config, about, .. } in seeded_bugs() {
        println!("  {name:<32} {config:<24} {about}");
    }
}

fn exhaust_all(configs: &[Configuration], limits: &Limits, with_steps: bool) -> bool {
    let (mut states, mut violations, mut open) = (0, 0, 0);
    for config in configs {
        let report = exhaust(*config, limits);
        states += report.states;
        print_line(&report);
        match &report.verdict {
            Verdict::Holds if with_steps => {
                for (kind, times) in &report.steps {
                    println!("    {times:>12} {kind}");
                }
            }
            Verdict::Holds => {}
            Verdict::Violated(violation) => {
                violations += 1;
                print_way(violation);
            }
            Verdict::GaveUp(_) => open += 1,
        }
    }
    print!(
        "{} configurations, {states} unique states, {violations} violations, {open} not exhausted,",
        configs.len()
    );
    violations == 0 && open == 0
}

fn find_all(bugs: &[SeededBug], limits: &Limits) -> bool {
    let (mut found, mut states) = (0, 0);
    for bug in bugs {
        let report = find(bug, limits);
        states += report.states;
        println!("{}: {}", bug.name, bug.about);
        print_line(&report);
        if let Verdict::Violated(violation) = &report.verdict {
            found += 1;
            print_way(violation);
        }
    }
    print!("{found} of {} seeded bugs found, {states} unique states,", bugs.len());
    found == bugs.len()
}

fn print_line(report: &Report) {
    let verdict = match &report.verdict {
        Verdict::Holds => "every property holds".to_owned(),
        Verdict::Violated(violation) => {
            let steps = violation.steps.len();
            format!("VIOLATED after {steps} steps: {}", violation.property)
        }
        Verdict::GaveUp(why) => format!("NOT EXHAUSTED: {why}"),
    };
    let took = report.took.as_secs_f64();
    println!("{:<24} {:>11} unique states {took:>7.1} s  {verdict}", report.name, report.states);
}

fn print_way(violation: &Violation) {
    for (number, step) in (1..).zip(&violation.steps) {
        println!("    {number:>3}. {step}");
    }
    print!("{}", violation.end);
}

fn config(name: &str) -> Result<Configuration, String> {
    named(name).ok_or_else(|| "no such configuration; --list names all".to_owned())
}

fn bug(name: &str) -> Result<SeededBug, String> {
    bug_named(name).ok_or_else(|| "no such seeded bug; --list names all".to_owned())
}

fn states(text: &str) -> Result<usize, String> {
    match text.replace('_', "").parse() {
        // States are numbered with 32 bits.
        Ok(states) if (1..=4_000_000_000).contains(&states) => Ok(states),
        _ => Err("a number from 1 to 4000000000".to_owned()),
    }
}
