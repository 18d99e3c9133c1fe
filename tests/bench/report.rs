//! Medians and ratios of what was measured, as text for people and JSON for programs.

use std::fmt;
use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::Result;
use crate::figure::Figure;
use crate::options::Options;
use crate::server::PROGRAM;

/// All that was measured.
pub struct Report {
    cores: usize,
    /// Of the machine in the minute before.
    load: f64,
    executable_mib: f64,
    runs: u32,
    pub sizes: Vec<Size>,
}

/// What was measured with a directory of one size.
pub struct Size {
    pub title: String,
    users: usize,
    pub runs: Vec<Vec<Figure>>,
}

/// The middle of all runs, and their ends.
#[derive(Clone, Copy, Debug)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

/// One figure over all runs.
struct Row {
    name: String,
    unit: &'static str,
    value: Spread,
    /// p50, p99 and maximum, in milliseconds.
    latency: Option<[Spread; 3]>,
    /// The server's processor time for each request, in microseconds.
    cpu: Option<Spread>,
    /// `value` divided by that of another figure of the same run.
    ratio: Option<(String, Spread)>,
}

impl Report {
    pub fn new(options: &Options) -> Result<Report> {
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Report {
            load: load.split(' ').next().unwrap_or_default().parse()?,
            cores: thread::available_parallelism()?.get(),
            executable_mib: fs::metadata(PROGRAM)?.len() as f64 / 1024.0 / 1024.0,
            runs: options.runs,
            sizes: Vec::new(),
        })
    }

    /// Times in milliseconds.
    pub fn to_json(&self) -> Value {
        let sizes: Vec<Value> = self.sizes.iter().map(Size::to_json).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cores": self.cores,
            "loadBefore": self.load,
            "executableMiB": self.executable_mib,
            "optimized": !cfg!(debug_assertions),
            "runs": self.runs,
            "sizes": sizes,
        })
    }

    /// How something grows with the directory: what `pick` finds, for each figure that is there at every size.
    fn growth(&self, pick: fn(&Row) -> Option<f64>) -> Vec<(String, Vec<f64>)> {
        let sizes: Vec<Vec<Row>> = self.comparable().map(Size::rows).collect();
        let Some((first, others)) = sizes.split_first().filter(|(_, others)| !others.is_empty())
        else {
            return Vec::new();
        };
        let everywhere = |row: &Row| -> Option<(String, Vec<f64>)> {
            let others = others.iter().map(|rows| {
                let same = rows.iter().find(|other| other.name == row.name);
                same.and_then(pick)
            });
            let values = std::iter::once(pick(row))
                .chain(others)
                .collect::<Option<_>>();
            Some((row.name.clone(), values?))
        };
        first.iter().filter_map(everywhere).collect()
    }

    fn comparable(&self) -> impl Iterator<Item = &Size> {
        self.sizes.iter().filter(|size| size.users > 0)
    }

    fn write_growth(
        &self,
        f: &mut fmt::Formatter<'_>,
        title: &str,
        pick: fn(&Row) -> Option<f64>,
    ) -> fmt::Result {
        let growth = self.growth(pick);
        if growth.is_empty() {
            return Ok(());
        }
        write!(f, "\n{title:<54}")?;
        for size in self.comparable() {
            write!(f, "{:>11}", grouped(size.users as f64))?;
        }
        writeln!(f, "  last : first")?;
        for (name, values) in growth {
            write!(f, "{name:<54}")?;
            values
                .iter()
                .try_for_each(|value| write!(f, "{value:>11.3}"))?;
            if let (Some(first), Some(last)) = (values.first(), values.last()) {
                write!(f, "{:>14.2}", last / first)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let built = match cfg!(debug_assertions) {
            true => "NOT OPTIMIZED",
            false => "optimized",
        };
        writeln!(
            f,
            "rollcall {}, {built}, executable {:.1} MiB, {} cores; median of {}, with least and most where they are several",
            env!("CARGO_PKG_VERSION"),
            self.executable_mib,
            self.cores,
            match self.runs {
                1 => "1 run".to_owned(),
                runs => format!("{runs} runs"),
            },
        )?;
        if self.load > 1.0 {
            writeln!(
                f,
                "The machine was busy in the minute before (load {:.1}): if it still was, the figures say little.",
                self.load
            )?;
        }
        for size in &self.sizes {
            size.write(f)?;
        }
        self.write_growth(f, "p50 in ms, by users", |row| {
            row.latency.map(|[p50, ..]| p50.median)
        })?;
        self.write_growth(f, "cpu in us, by users", |row| {
            row.cpu.map(|cpu| cpu.median)
        })
    }
}

impl Size {
    /// `users` is 0 where the size can't be compared with others.
    pub fn new(title: String, users: usize) -> Size {
        Size {
            title,
            users,
            runs: Vec::new(),
        }
    }

    fn rows(&self) -> Vec<Row> {
        let first = self.runs.first().map_or(&[][..], Vec::as_slice);
        first.iter().map(|figure| self.row(figure)).collect()
    }

    /// The row of a figure, which is in every run.
    fn row(&self, figure: &Figure) -> Row {
        let named = |run: &[Figure], name: &str| run.iter().find(|f| f.name == name).cloned();
        let each = |of: &dyn Fn(&[Figure], Figure) -> Option<f64>| {
            let values = self
                .runs
                .iter()
                .filter_map(|run| of(run, named(run, &figure.name)?));
            Spread::of(values.collect())
        };
        let latency = |pick: fn(&crate::figure::Latency) -> f64| {
            each(&|_, figure| figure.latency.as_ref().map(pick))
        };
        let ratio = figure.of.as_ref().and_then(|of| {
            let spread = each(&|run, figure| Some(figure.value / named(run, of)?.value));
            Some((of.clone(), spread?))
        });
        let nothing = Spread {
            median: f64::NAN,
            least: f64::NAN,
            most: f64::NAN,
        };
        Row {
            name: figure.name.clone(),
            unit: figure.unit,
            value: each(&|_, figure| Some(figure.value)).unwrap_or(nothing),
            latency: latency(|l| l.p50)
                .zip(latency(|l| l.p99))
                .zip(latency(|l| l.max))
                .map(|((p50, p99), max)| [p50, p99, max]),
            cpu: each(&|_, figure| figure.cpu),
            ratio,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<54}{:>11}    {:>9} {:>9} {:>9} {:>9}  ratio",
            self.title, "", "p50 ms", "p99 ms", "max ms", "cpu us"
        )?;
        for row in self.rows() {
            let several = self.runs.len() > 1;
            let latency = row.latency.map_or(String::new(), |times| {
                let [p50, p99, max] = times.map(|time| time.median);
                format!(" {p50:>9.3} {p99:>9.3} {max:>9.3}")
            });
            let cpu = row.cpu.map_or(String::new(), |cpu| shown(cpu.median));
            let mut line = format!(
                "{:<54}{:>11} {:<3}{latency:<30} {cpu:>9}",
                row.name,
                shown(row.value.median),
                row.unit
            );
            if let Some((of, ratio)) = &row.ratio {
                line += &format!("  {:.2} of {of}", ratio.median);
                if several {
                    line += &format!(" ({:.2} to {:.2})", ratio.least, ratio.most);
                }
            }
            if several {
                let (least, most) = (shown(row.value.least), shown(row.value.most));
                line += &format!("  [{least} to {most} {}]", row.unit);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let figures: Vec<Value> = self.rows().iter().map(Row::to_json).collect();
        json!({ "title": self.title, "users": self.users, "figures": figures })
    }
}

impl Row {
    fn to_json(&self) -> Value {
        let latency = self.latency.map(|[p50, p99, max]| {
            json!({ "p50": p50.to_json(), "p99": p99.to_json(), "max": max.to_json() })
        });
        let ratio = self
            .ratio
            .as_ref()
            .map(|(of, ratio)| json!({ "of": of, "value": ratio.to_json() }));
        json!({
            "name": self.name,
            "unit": self.unit,
            "value": self.value.to_json(),
            "latency": latency,
            "cpuMicroseconds": self.cpu.map(Spread::to_json),
            "ratio": ratio,
        })
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
        Some(Spread {
            median: f64::midpoint(values[low], values[high]),
            least,
            most,
        })
    }

    fn to_json(self) -> Value {
        json!({ "median": self.median, "least": self.least, "most": self.most })
    }
}

/// Whole from 100 on, else with one digit behind the point.
fn shown(value: f64) -> String {
    match value {
        100.0.. => grouped(value),
        _ => format!("{value:.1}"),
    }
}

/// A whole number with commas between thousands.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
