//! The bar that moves while a run goes on. Off where nobody watches.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::proxy::Faults;
use crate::report::grouped;
use crate::traffic::{End, Traffic};

/// A progress bar on stderr, if that is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// The bar of a run that ends so.
    pub(crate) fn new(end: End) -> Progress {
        let length = match end {
            End::After(time) => millis(time),
            End::Calls(calls) => calls,
        };
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {wide_msg}")
            .expect("the template is one that indicatif reads");
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        bar.set_style(style);
        Progress { bar }
    }

    /// Shows how far the run is.
    pub(crate) fn show(&self, traffic: &Traffic, faults: &Faults) {
        let made = traffic.made();
        self.bar.set_position(match traffic.end {
            End::After(_) => millis(traffic.elapsed()),
            End::Calls(_) => made,
        });
        let counts = faults.counts();
        let cut = counts.connections_cut + counts.connections_cut_mid_message;
        self.bar.set_message(format!(
            "{} calls; {} messages lost, {} connections cut, {} stops, {} freezes",
            grouped(made),
            grouped(counts.messages_dropped),
            grouped(cut),
            counts.servers_stopped,
            counts.servers_frozen,
        ));
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, what: &'static str) {
        self.bar.set_message(what);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
