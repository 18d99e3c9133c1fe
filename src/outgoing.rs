//! How this program asks other servers: whom it believes by TLS, how long it waits, and that it follows no redirect.
//!
//! A redirect would take a secret to an address that nobody has checked. Proxies are those of the environment
//! (`HTTPS_PROXY`, `NO_PROXY`), as for every other client.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

/// Something that asks, for `timeout` at most each time. Trusts the machine's own certificate authorities, which in a closed
/// network may be private ones. Without `allow_plain`, it asks by HTTPS alone.
pub fn agent(timeout: Duration, allow_plain: bool) -> Agent {
    settings(timeout, allow_plain).build().new_agent()
}

/// The same with a connection of its own for each request. On one that is kept, a request may be lost because the server
/// closes it just then, and nobody knows whether it was done.
pub fn agent_that_keeps_no_connection(timeout: Duration, allow_plain: bool) -> Agent {
    let settings = settings(timeout, allow_plain);
    settings.max_idle_connections(0).build().new_agent()
}

fn settings(timeout: Duration, allow_plain: bool) -> ConfigBuilder<AgentScope> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!("reading the certificate authorities: {error}");
    }
    let roots = found.certs.iter();
    let roots = roots.map(|root| Certificate::from_der(root.as_ref()).to_owned());
    let cryptography = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(cryptography))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .https_only(!allow_plain)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
        .user_agent(concat!("rollcall/", env!("CARGO_PKG_VERSION")))
}
