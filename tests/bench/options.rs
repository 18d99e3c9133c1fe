//! What to measure: the command line after `cargo bench --`.

use std::time::Duration;

use clap::Parser;

/// Most connections of any workload, as many as the server takes from one address that isn't loopback.
pub const MOST_CONNECTIONS: usize = 64;

#[derive(Debug, Parser)]
#[command(name = "cargo bench --", about = "Measures rollcall beside SQLite and the socket alone", long_about = None)]
pub struct Options {
    /// Sizes of the directory
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1000,100000"
    )]
    pub users: Vec<usize>,
    /// Take each figure so many times, and show medians with the least and the most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Seconds for each figure
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub seconds: f64,
    /// Only figures with this in their name; repeatable. A ratio needs both of its figures
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Compare a whole cycle with scim2-server and scimmy-routers, which are installed into tests/.tools
    #[arg(long)]
    pub peers: bool,
    /// Few users, a few seconds: whether it runs, not how fast
    #[arg(long)]
    pub quick: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Given by cargo bench, and not by cargo test --all-targets
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// With what `quick` changes.
    pub fn settled(mut self) -> Options {
        self.quick |= !self.bench;
        if self.quick {
            self.users = vec![200];
            self.seconds = 0.05;
        }
        self
    }

    /// How long one workload may take.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.001, 3600.0))
    }

    /// Sizes of the groups that a directory gets: each that it has the users for, and itself.
    pub fn groups(users: usize) -> Vec<usize> {
        let mut sizes: Vec<usize> = [10, 10_000, 100_000].map(|size| size.min(users)).to_vec();
        sizes.dedup();
        sizes
    }
}
