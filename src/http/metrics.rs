//! What the server does, in numbers, for Prometheus.
//!
//! A request adds to a few atomic numbers and takes no lock. What the database knows is asked for when somebody looks.
//! It has a listener of its own, because it names tenants and needs no token: keep that one on an inner address.

use std::fmt::{Display, Write as _};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::App;
use super::listen::Traffic;
use super::pages::plain;
use super::request::{Handler, Head, Request, Response};
use super::route::{Api, Route, Scim};
use super::tls::Tls;
use crate::error::Result;
use crate::scim::schema::Kind;
use crate::store::tenants::{self, Tenant};
use crate::store::tokens::{self, State, TokenKind};
use crate::store::{BATCH_SIZES, Snapshot, removals};

/// What requests are counted by: coarse, so that nobody can add a series by asking.
const PLACES: [&str; 12] = [
    "scim_users",
    "scim_groups",
    "scim_bulk",
    "scim_other",
    "api",
    "api_events",
    "settings",
    "sign_in",
    "static",
    "health",
    "none",
    "unread",
];

/// Statuses that are counted each; the others count as `other`.
const STATUSES: [u16; 24] = [
    200, 201, 204, 303, 304, 400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 417, 429, 431,
    500, 501, 503, 507, 0,
];

/// The upper ends of the histogram's buckets, in microseconds.
const BUCKETS: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// How long before its end a token is counted as expiring.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The counters.
#[derive(Debug, Default)]
pub struct Metrics {
    places: [Place; PLACES.len()],
    /// Connections of the main listener.
    pub traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct Place {
    statuses: [AtomicU64; STATUSES.len()],
    /// How many took no longer than each bucket's end, and longer than the one's before.
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Metrics {
    /// Counts a request that was answered, by the number of its [`place`].
    pub(super) fn count(&self, place: usize, status: u16, took: Duration) {
        let place = &self.places[place];
        let known = STATUSES.iter().position(|known| *known == status);
        add(&place.statuses[known.unwrap_or(STATUSES.len() - 1)], 1);
        let micros = took.as_micros() as u64;
        if let Some(bucket) = BUCKETS.iter().position(|end| micros <= *end) {
            add(&place.buckets[bucket], 1);
        }
        add(&place.count, 1);
        add(&place.micros, micros);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// What a request counts as, a number into [`PLACES`]. `None`: its head could not be read.
pub(super) fn place(route: Option<&Route>) -> usize {
    let name = match route {
        None => "unread",
        Some(Route::Scim(scim)) => match scim {
            Scim::Collection(kind) | Scim::Resource(kind, _) | Scim::Search(Some(kind)) => {
                match kind {
                    Kind::User => "scim_users",
                    Kind::Group => "scim_groups",
                }
            }
            Scim::Bulk => "scim_bulk",
            _ => "scim_other",
        },
        // Who waits for an event takes as long as there is none.
        Some(Route::Api(Api::Events)) => "api_events",
        Some(Route::Api(_)) => "api",
        Some(Route::Settings(_)) => "settings",
        Some(Route::Asset(_) | Route::Docs | Route::Document(_)) => "static",
        Some(Route::Health | Route::Ready) => "health",
        Some(Route::Nothing) => "none",
        Some(_) => "sign_in",
    };
    let at = PLACES.iter().position(|known| *known == name);
    at.unwrap_or(PLACES.len() - 1)
}

/// What answers at `/metrics`.
#[derive(Debug)]
pub struct Page {
    /// Whose numbers.
    pub app: Arc<App>,
    /// By which certificate it is served.
    pub tls: Option<Arc<Tls>>,
}

impl Handler for Page {
    fn body_limit(&self, _: &Head) -> u64 {
        0
    }

    fn answer(&self, request: Request) -> Response {
        let head = &request.head;
        if head.path != "/metrics" {
            return plain(404, "The numbers are at /metrics.\n");
        }
        if head.method != "GET" {
            return plain(405, "Only GET is allowed here.\n");
        }
        match self.text(head.now) {
            Ok(text) => Response {
                status: 200,
                headers: vec![(
                    "Content-Type",
                    "text/plain; version=0.0.4; charset=utf-8".to_owned(),
                )],
                body: text.into_bytes().into(),
            },
            Err(error) => {
                log::error!("{}: {error}", head.request_id);
                plain(
                    503,
                    "The database does not answer; the log has the reason.\n",
                )
            }
        }
    }

    fn refusal(&self, _: Option<&Head>, status: u16, detail: &str) -> Response {
        plain(status, &format!("{detail}\n"))
    }
}

impl Page {
    fn text(&self, now: Timestamp) -> Result<String> {
        let mut text = Text::default();
        text.single(
            "rollcall_info",
            "gauge",
            "The version that runs.",
            &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
            1,
        );
        requests(&self.app.metrics, &mut text);
        traffic(&self.app.metrics.traffic, &mut text);
        self.storage(&mut text);
        if let Some(until) = self.tls.as_ref().and_then(|tls| tls.until()) {
            let help = "When the TLS certificate ends, in seconds since 1970.";
            text.single(
                "rollcall_tls_certificate_end_seconds",
                "gauge",
                help,
                "",
                until.as_second(),
            );
        }
        process(&mut text);
        let tenants = self.app.store.read(|snapshot| {
            let each = tenants::list(snapshot)?.into_iter();
            each.map(|tenant| Numbers::of(snapshot, &tenant, now))
                .collect::<Result<Vec<_>>>()
        })?;
        by_tenant(&tenants, &mut text);
        Ok(text.0)
    }

    fn storage(&self, text: &mut Text) {
        let store = &self.app.store;
        let name = "rollcall_commit_changes";
        text.head(
            name,
            "histogram",
            "Transactions by how many changes they hold; many share one when it is busy.",
        );
        let batches = store.batches();
        let buckets = BATCH_SIZES.iter().zip(batches);
        text.histogram(name, "", buckets, batches.iter().sum(), store.changes());
        let (changes, exchanges) = store.waiting();
        for (name, kind, help, value) in [
            (
                "rollcall_lost_transactions_total",
                "counter",
                "Transactions that could not be committed.",
                store.lost(),
            ),
            (
                "rollcall_queued_changes",
                "gauge",
                "Changes that wait for the writer.",
                changes,
            ),
            (
                "rollcall_queued_log_lines",
                "gauge",
                "Lines of the provisioning log that wait for the writer.",
                exchanges,
            ),
            (
                "rollcall_dropped_log_lines_total",
                "counter",
                "Lines that the provisioning log lacks.",
                store.dropped_exchanges(),
            ),
        ] {
            text.single(name, kind, help, "", value);
        }
    }
}

fn requests(metrics: &Metrics, text: &mut Text) {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    text.head(
        "rollcall_requests_total",
        "counter",
        "Answers by what was asked for and status.",
    );
    for (name, place) in PLACES.iter().zip(&metrics.places) {
        for (status, counter) in STATUSES.iter().zip(&place.statuses) {
            let count = get(counter);
            let status = if *status == 0 {
                "other".to_owned()
            } else {
                status.to_string()
            };
            if count > 0 {
                let labels = format!("route=\"{name}\",status=\"{status}\"");
                text.line("rollcall_requests_total", &labels, count);
            }
        }
    }
    let name = "rollcall_request_seconds";
    text.head(
        name,
        "histogram",
        "From a request's first byte until its answer was ready.",
    );
    for (route, place) in PLACES.iter().zip(&metrics.places) {
        // Read first, so that no bucket has more.
        let count = get(&place.count);
        if count == 0 {
            continue;
        }
        let seconds = |micros: &u64| *micros as f64 / 1e6;
        let buckets = BUCKETS
            .iter()
            .map(seconds)
            .zip(place.buckets.iter().map(get));
        let labels = format!("route=\"{route}\"");
        text.histogram(name, &labels, buckets, count, seconds(&get(&place.micros)));
    }
}

fn traffic(traffic: &Traffic, text: &mut Text) {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    for (name, kind, help, value) in [
        (
            "rollcall_connections",
            "gauge",
            "Connections that are open.",
            &traffic.open,
        ),
        (
            "rollcall_connections_total",
            "counter",
            "Connections that were accepted.",
            &traffic.accepted,
        ),
        (
            "rollcall_connections_turned_away_total",
            "counter",
            "Those without a place or a thread.",
            &traffic.turned_away,
        ),
    ] {
        text.single(name, kind, help, "", get(value));
    }
}

/// What the system says of this process; nothing where it has no `/proc`.
fn process(text: &mut Text) {
    let resident = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
    if let Some(kib) = resident {
        text.single(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            "",
            kib * 1024,
        );
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        text.single(
            "process_open_fds",
            "gauge",
            "Open descriptors.",
            "",
            descriptors.count(),
        );
    }
}

/// What there is to know of a tenant.
struct Numbers {
    /// Its label, escaped.
    label: String,
    /// In the order of [`BY_TENANT`].
    values: [Option<i64>; BY_TENANT.len()],
}

const BY_TENANT: [(&str, &str); 9] = [
    ("rollcall_users", "Live users."),
    ("rollcall_teams", "Live teams."),
    (
        "rollcall_archived_users",
        "Deleted users that can come back.",
    ),
    (
        "rollcall_archived_teams",
        "Deleted teams that can come back.",
    ),
    ("rollcall_tokens", "Tokens that work."),
    (
        "rollcall_tokens_expiring",
        "SCIM tokens that end within 14 days and no others of the tenant that last longer.",
    ),
    (
        "rollcall_unusual_removals",
        "1 while removals are unusual and nothing is purged: see rollcall undo.",
    ),
    (
        "rollcall_provisioning_paused",
        "1 while providers are told to wait.",
    ),
    (
        "rollcall_last_client_request_seconds",
        "When a provider's token was last used, in seconds since 1970.",
    ),
];

impl Numbers {
    fn of(snapshot: &Snapshot<'_>, tenant: &Tenant, now: Timestamp) -> Result<Numbers> {
        let owned = tenants::owned(snapshot, tenant.id, now)?;
        let unusual = removals::unusual_since(snapshot, tenant.id)?.is_some();
        let tokens: Vec<_> = tokens::list(snapshot, tenant.id)?
            .into_iter()
            .filter(|token| token.kind == TokenKind::Scim)
            .collect();
        let last_used = tokens.iter().filter_map(|token| token.last_used).max();
        let ends = tokens
            .iter()
            .filter(|token| !matches!(token.state(now), State::Revoked | State::Expired))
            .map(|token| token.expires.is_some_and(|expires| expires < now + SOON));
        let (expiring, lasting): (Vec<_>, Vec<_>) = ends.partition(|ends| *ends);
        // One that is being replaced may end.
        let expiring = if lasting.is_empty() {
            expiring.len()
        } else {
            0
        };
        let name = tenant
            .name
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        Ok(Numbers {
            label: format!("tenant=\"{name}\""),
            values: [
                Some(owned.people),
                Some(owned.teams),
                Some(owned.archived_people),
                Some(owned.archived_teams),
                Some(owned.tokens),
                Some(expiring as i64),
                Some(unusual.into()),
                Some(tenant.paused.is_some().into()),
                last_used.map(Timestamp::as_second),
            ],
        })
    }
}

fn by_tenant(tenants: &[Numbers], text: &mut Text) {
    for (at, (name, help)) in BY_TENANT.iter().enumerate() {
        text.head(name, "gauge", help);
        for tenant in tenants {
            if let Some(value) = tenant.values[at] {
                text.line(name, &tenant.label, value);
            }
        }
    }
}

/// Prometheus' text format, 0.0.4.
#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// Of `count` values, so many each that are no more than a bucket's end and more than the end before.
    fn histogram<End: Display>(
        &mut self,
        name: &str,
        labels: &str,
        buckets: impl Iterator<Item = (End, u64)>,
        count: u64,
        sum: impl Display,
    ) {
        let bucket = format!("{name}_bucket");
        let and = if labels.is_empty() { "" } else { "," };
        let mut so_far = 0;
        for (end, more) in buckets {
            so_far += more;
            self.line(
                &bucket,
                &format!("{labels}{and}le=\"{end}\""),
                so_far.min(count),
            );
        }
        self.line(&bucket, &format!("{labels}{and}le=\"+Inf\""), count);
        self.line(&format!("{name}_sum"), labels, sum);
        self.line(&format!("{name}_count"), labels, count);
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, labels: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, labels, value);
    }
}
