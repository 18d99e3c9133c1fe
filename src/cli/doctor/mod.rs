//! `rollcall doctor`: what is not as it should be, and what to do about it. Also `rollcall healthcheck`.
//!
//! Takes the same options and the same environment as `serve`, so that it looks at what that one uses.

mod folder;
mod network;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::table::{self, Format};
use super::{Failure, Outcome, failure, interval, public_url};
use crate::http::bind::Place;

#[derive(Debug, Args)]
pub(super) struct Examined {
    /// How clients reach the server, as for serve
    #[arg(long, value_name = "URL", env = "ROLLCALL_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<String>,
    /// The certificate of serve
    #[arg(
        long,
        value_name = "FILE",
        env = "ROLLCALL_TLS_CERT",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's key
    #[arg(
        long,
        value_name = "FILE",
        env = "ROLLCALL_TLS_KEY",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// Roots that the public URL's certificate must lead to, as PEM [default: those of the system]
    #[arg(long, value_name = "FILE", env = "SSL_CERT_FILE")]
    ca_file: Option<PathBuf>,
    /// The folder of backups of serve
    #[arg(long, value_name = "DIR", env = "ROLLCALL_BACKUP_DIR")]
    backup_dir: Option<PathBuf>,
    /// How often serve makes one
    #[arg(long, value_name = "TIME", env = "ROLLCALL_BACKUP_EVERY", default_value = "24h", value_parser = interval)]
    backup_every: Duration,
    /// The key of serve that seals providers' client secrets [default: rollcall.key in the data folder]
    #[arg(long, value_name = "FILE", env = "ROLLCALL_KEY_FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// Where serve listens
    #[arg(
        long,
        value_name = "ADDR",
        env = "ROLLCALL_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: Place,
    /// The certificate of serve, if it speaks HTTPS
    #[arg(long, value_name = "FILE", env = "ROLLCALL_TLS_CERT")]
    tls_cert: Option<PathBuf>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    /// It works, but not for ever, or not as well as it could.
    Warn,
    /// It doesn't work, or what it protects is in danger.
    Fail,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// One line of the report.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    state: State,
    found: String,
    /// What to do, unless it is ok.
    fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Display) -> Finding {
        Finding {
            check,
            state: State::Ok,
            found: found.to_string(),
            fix: None,
        }
    }

    fn warn(check: &'static str, found: impl Display, fix: impl Display) -> Finding {
        Finding {
            state: State::Warn,
            fix: Some(fix.to_string()),
            ..Finding::ok(check, found)
        }
    }

    fn fail(check: &'static str, found: impl Display, fix: impl Display) -> Finding {
        Finding {
            state: State::Fail,
            ..Finding::warn(check, found, fix)
        }
    }
}

pub(super) fn run(data: &Path, format: Format, examined: &Examined) -> Outcome {
    let mut findings = folder::permissions(data, examined);
    findings.extend(folder::database(data));
    findings.push(folder::disk(data));
    findings.push(folder::backups(examined));
    findings.extend(network::certificate(examined));
    findings.extend(network::public_url(examined));
    print(format, &findings)?;
    if findings.iter().any(|one| one.state == State::Fail) {
        return Err(Failure::Unwell);
    }
    Ok(())
}

fn print(format: Format, findings: &[Finding]) -> Outcome {
    if format == Format::Json {
        let rows: Vec<_> = findings
            .iter()
            .map(|one| {
                json!({ "check": one.check, "state": one.state.as_str(), "found": one.found, "fix": one.fix })
            })
            .collect();
        return table::print(format, &[], &rows);
    }
    let mut out = std::io::stdout().lock();
    for one in findings {
        let (state, check) = (one.state.as_str(), one.check);
        writeln!(
            out,
            "{state:4}  {check:12}  {}",
            table::printable(&one.found)
        )?;
        if let Some(fix) = &one.fix {
            writeln!(out, "{:20}→ {}", "", table::printable(fix))?;
        }
    }
    Ok(out.flush()?)
}

/// For a container's HEALTHCHECK: whether the server on this machine answers, its database too.
pub(super) fn healthcheck(arguments: &Healthcheck) -> Outcome {
    let seen = network::ready(&arguments.listen, arguments.tls_cert.as_deref());
    match seen.map_err(|error| failure(format!("{}: {error}", arguments.listen)))? {
        200 => table::line("ready"),
        status => Err(failure(format!(
            "{} answers {status} to /readyz; its log has the reason",
            arguments.listen
        ))),
    }
}
