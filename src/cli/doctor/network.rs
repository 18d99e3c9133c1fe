//! What others see: the certificate, the public URL, the proxy in between, the clock beside theirs.

use std::path::{Path, PathBuf};

use jiff::fmt::rfc2822;
use serde_json::Value;

use super::folder::SOON;
use super::{Examined, Finding};
use crate::cli::now;
use crate::http::bind::Place;
use crate::http::certificate::facts;
use crate::http::probe::{self, Seen, Target, Trust};
use crate::http::tls::{Files, Tls};

/// Where systems keep the roots that they trust.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How many seconds the clock may differ from the one at the other end of the public URL.
const CLOCK_SECONDS: i64 = 60;

/// The files of serve: whether they fit, are in order and last.
pub(super) fn certificate(examined: &Examined) -> Option<Finding> {
    let files = Files {
        certificate: examined.tls_cert.clone()?,
        key: examined.tls_key.clone()?,
    };
    let name = files.certificate.display().to_string();
    let fix = "put the right files in place; the server reads them again by itself";
    if let Err(trouble) = Tls::load(files.clone()) {
        return Some(Finding::fail("certificate", trouble, fix));
    }
    let chain = match files.chain() {
        Ok(chain) => chain,
        Err(trouble) => return Some(Finding::fail("certificate", trouble, fix)),
    };
    let Some(all) = chain
        .iter()
        .map(|one| facts(one))
        .collect::<Option<Vec<_>>>()
    else {
        let found = format!("a certificate in {name} can't be read");
        return Some(Finding::fail("certificate", found, fix));
    };
    let first = all.first()?;
    let until = all.iter().map(|one| one.until).min()?;
    let days = until.duration_since(now()).as_hours().div_euclid(24);
    let is_in_order = all.windows(2).all(|pair| pair[0].issuer == pair[1].subject);
    let renew = "renew it: the server takes a new one from the same file by itself";
    Some(if until < now() {
        Finding::fail(
            "certificate",
            format!("it ended at {until:.0}: {name}"),
            renew,
        )
    } else if first.from > now() {
        let found = format!("it begins at {:.0} only: {name}", first.from);
        Finding::fail("certificate", found, "wait, or set the clock")
    } else if !is_in_order {
        let found = format!("the chain in {name} is not in order: each must be signed by the next");
        Finding::fail(
            "certificate",
            found,
            "write the server's own first, then those that lead to the root",
        )
    } else if until < now() + SOON {
        Finding::warn(
            "certificate",
            format!("{days} days are left: {name}"),
            renew,
        )
    } else if all.len() == 1 && first.issuer != first.subject {
        let found = format!("there is no intermediate certificate in {name}");
        let fix = "use the full chain (fullchain.pem): providers such as Entra ID fetch none by themselves";
        Finding::warn("certificate", found, fix)
    } else {
        Finding::ok(
            "certificate",
            format!("{days} days are left, {} in the chain", all.len()),
        )
    })
}

/// Asks for the server by the address that clients use.
pub(super) fn public_url(examined: &Examined) -> Vec<Finding> {
    let Some(url) = &examined.public_url else {
        let fix = "set --public-url (ROLLCALL_PUBLIC_URL) for serve, and run this again with it";
        return vec![Finding::warn("public URL", "it is not named", fix)];
    };
    let (scheme, host) = url.split_once("://").unwrap_or(("http", url));
    let trust = match (scheme, roots(examined)) {
        ("https", Some(file)) => Some(Trust::Roots(file)),
        ("https", None) => {
            let fix = "name a file of trusted roots with --ca-file";
            return vec![Finding::warn(
                "public URL",
                "no trusted roots were found",
                fix,
            )];
        }
        _ => None,
    };
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    let address = match (has_port, scheme) {
        (true, _) => host.to_owned(),
        (false, "https") => format!("{host}:443"),
        (false, _) => format!("{host}:80"),
    };
    let ask = |path| probe::get(&Target::Tcp(address.clone()), host, path, trust.as_ref());
    let reach = "see that the name leads here, the port is open, and the chain is complete";
    let seen = match ask("/healthz") {
        Ok(seen) if seen.status == 200 && seen.body == b"ok\n" => seen,
        Ok(seen) => {
            let found = format!("{url} answers {} and not as rollcall does", seen.status);
            return vec![Finding::fail("public URL", found, reach)];
        }
        Err(error) => {
            return vec![Finding::fail(
                "public URL",
                format!("{url}: {error}"),
                reach,
            )];
        }
    };
    let mut findings = vec![if scheme == "https" {
        Finding::ok(
            "public URL",
            format!("{url} answers, with a certificate that is trusted here"),
        )
    } else {
        let fix = "use HTTPS: tokens and sessions can be read on the way, and Entra ID refuses plain HTTP";
        Finding::warn("public URL", format!("{url} answers by plain HTTP"), fix)
    }];
    findings.extend(their_clock(&seen));
    findings.push(match ask("/scim/v2/ServiceProviderConfig") {
        Ok(seen) => proxy(url, &seen),
        Err(error) => Finding::fail("proxy", error, reach),
    });
    findings
}

fn roots(examined: &Examined) -> Option<PathBuf> {
    let named = examined.ca_file.clone();
    named.or_else(|| {
        let all = SYSTEM_ROOTS.iter().map(PathBuf::from);
        all.into_iter().find(|file| file.is_file())
    })
}

/// Our clock beside that of whatever answers there.
fn their_clock(seen: &Seen) -> Option<Finding> {
    let theirs = rfc2822::parse(seen.header("date")?).ok()?.timestamp();
    let seconds = now().duration_since(theirs).as_secs();
    (seconds.abs() > CLOCK_SECONDS).then(|| {
        let found = format!("it differs by {seconds} seconds from that of the public URL");
        Finding::fail("clock", found, "set it, and keep it right with NTP")
    })
}

/// Whether the server knows by which address it is reached: links, redirects and cookies go by it.
fn proxy(url: &str, seen: &Seen) -> Finding {
    let config: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    match config["meta"]["location"].as_str() {
        Some(location) if location.starts_with(&format!("{url}/")) => {
            Finding::ok("proxy", "the server takes itself for the public URL")
        }
        Some(location) => Finding::fail(
            "proxy",
            format!("asked at {url}, the server takes itself for {location}"),
            "serve with --public-url, or let the proxy send X-Forwarded-Proto and -Host and name it with --trusted-proxy",
        ),
        None => Finding::fail(
            "proxy",
            format!("{url}/scim/v2 does not lead to the server"),
            "let the proxy pass all paths on, unchanged",
        ),
    }
}

/// The status of `/readyz` at the server on this machine.
pub(super) fn ready(listen: &Place, certificate: Option<&Path>) -> Result<u16, String> {
    let target = match listen {
        Place::Unix(path) => Target::Unix(path.clone()),
        Place::Tcp(address) => Target::from(*address),
        Place::Given(_) => return Err("name the address with --listen".to_owned()),
    };
    let trust = match certificate {
        None => None,
        Some(file) => {
            let files = Files {
                certificate: file.to_owned(),
                key: PathBuf::new(),
            };
            files.chain()?.into_iter().next().map(Trust::Leaf)
        }
    };
    Ok(probe::get(&target, "localhost", "/readyz", trust.as_ref())?.status)
}
