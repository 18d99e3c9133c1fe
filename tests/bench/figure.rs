//! What is measured.

use crate::Result;
use crate::driver::Sample;
use crate::options::Options;
use crate::server::{self, Server};

/// One figure of one run.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    /// `/s`, `ms`, `MiB`, or `x` for how many times another figure it is.
    pub unit: &'static str,
    /// In milliseconds.
    pub latency: Option<Latency>,
    /// Microseconds of processor time that the server spent on each request: it suffers less from what else the machine
    /// does. `None` where the server has no process of its own, or several.
    pub cpu: Option<f64>,
    /// The name of the figure of the same run that `value` is to be divided by.
    pub of: Option<String>,
}

/// How long requests took, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// The figures of one run, as they come.
pub struct Run<'a> {
    options: &'a Options,
    title: String,
    /// The server's process, once there is one.
    server: Option<u32>,
    pub figures: Vec<Figure>,
}

impl Run<'_> {
    pub fn new(options: &Options, title: String) -> Run<'_> {
        Run {
            options,
            title,
            server: None,
            figures: Vec::new(),
        }
    }

    /// From now on, rates are this server's.
    pub fn watch(&mut self, server: &Server) {
        self.server = Some(server.process());
    }

    /// Whether `--only` wants this figure.
    pub fn wants(&self, name: &str) -> bool {
        let only = &self.options.only;
        only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
    }

    /// Measures how many requests the server answers in a second, unless that isn't wanted.
    pub fn rate(
        &mut self,
        name: &str,
        of: Option<&str>,
        work: impl FnOnce() -> Result<Sample>,
    ) -> Result<()> {
        let before = self.server.map(server::cpu).transpose()?;
        let Some(sample) = self.measured(name, of, work)? else {
            return Ok(());
        };
        let after = self.server.map(server::cpu).transpose()?;
        let spent = before.zip(after).map(|(before, after)| after - before);
        if let (Some(figure), Some(spent)) = (self.figures.last_mut(), spent) {
            figure.cpu = Some(spent.as_secs_f64() * 1e6 / sample.latencies.count().max(1) as f64);
        }
        Ok(())
    }

    /// Measures what needs no server.
    pub fn limit(&mut self, name: &str, work: impl FnOnce() -> Result<Sample>) -> Result<()> {
        self.measured(name, None, work).map(|_| ())
    }

    fn measured(
        &mut self,
        name: &str,
        of: Option<&str>,
        work: impl FnOnce() -> Result<Sample>,
    ) -> Result<Option<Sample>> {
        if !self.wants(name) {
            return Ok(None);
        }
        eprintln!("{}: {name}", self.title);
        let sample = work().map_err(|error| format!("{name}: {error}"))?;
        self.sampled(name, of, &sample);
        Ok(Some(sample))
    }

    /// Adds what was measured elsewhere.
    pub fn sampled(&mut self, name: &str, of: Option<&str>, sample: &Sample) {
        let milliseconds = |share| sample.latencies.percentile(share).as_secs_f64() * 1e3;
        self.figures.push(Figure {
            name: name.to_owned(),
            value: sample.per_second(),
            unit: "/s",
            latency: Some(Latency {
                p50: milliseconds(0.5),
                p99: milliseconds(0.99),
                max: sample.latencies.max().as_secs_f64() * 1e3,
            }),
            cpu: None,
            of: of.map(str::to_owned),
        });
    }

    /// Adds a time or an amount.
    pub fn quantity(&mut self, name: &str, unit: &'static str, value: f64) {
        if self.wants(name) {
            self.figures.push(Figure {
                name: name.to_owned(),
                value,
                unit,
                latency: None,
                cpu: None,
                of: None,
            });
        }
    }
}

/// A workload's name with its connections.
pub fn over(what: &str, connections: usize) -> String {
    match connections {
        1 => format!("{what}, 1 connection"),
        _ => format!("{what}, {connections} connections"),
    }
}
