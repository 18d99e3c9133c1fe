//! The one integration-test binary: everything that needs the running program or the whole tree.
//!
//! A new case is a line in a file under `tests/data/` before it is a function here.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod authority; // a certificate authority, and clients that trust it
mod broken; // a proxy that breaks what passes, as SCIM servers do
mod browser; // a browser without JavaScript
mod directory; // what a client believes the server to hold, held against the server
mod internet; // the world outside, behind a proxy that the program is started with
mod preload; // libraries that stand between the program and its system
mod provider; // Entra ID and others, with keys of their own
mod support; // the running binary, and a raw HTTP client
mod tenant; // a tenant of it, and SCIM in one line for each call

mod api; // the API for apps, team resources, the views of the file
mod attributes; // a tenant's own attributes: by the command line, over SCIM, on the settings page
mod backup; // copies while clients write, and what comes back of them
mod backup_pages; // the page of backups: make, download, and whose they are
mod bad_input; // what no client should send: a clear 4xx, and nothing changes
mod bulk; // bulk requests: limits, what the log says, what the brake does
mod check; // rollcall check: ourselves, a server with faults, no server at all
mod cli; // every command beside a running server: output, exit codes, what it changes
mod clock; // a clock that jumps
mod connections; // the connection loop in this process: short deadlines, and what a test must cause by itself
mod consent; // connecting through the operator's application at Entra ID, and what is forged there
mod crash; // kill -9 amid writing clients
mod cursors; // cursors over time: restarts, other tenants, old ones, walks while others write
mod danger; // the danger zone: typed names, fresh sign-ins, this tenant alone
mod docs; // the documents of static/docs/ as files and as pages: links, pictures, a tenant's own values
mod doctor; // what the doctor says of what is well, and of each thing that isn't
mod door; // who may come in, and what every answer carries: credentials, hosts, headers
mod entra; // whole lives of a directory, as Entra ID and Okta push them, and what needs several connections
mod faults; // a full disk, a limit, a read-only disk, a database that is removed or damaged
mod feed; // the event feed: nothing missed, nothing twice, through kill -9
mod filters; // what filters mean: data/filters.txt over data/people.json
mod forward; // forward auth, as a proxy in front of an app asks
mod fuzz; // the fuzz targets over their seeds: ../fuzz
mod hazards; // what brought down the server that we do without, row by row (ARCHITECTURE.md)
mod history; // how users and teams were, and what was different between two times
mod hostile_tokens; // one of each sort through the running program: none reaches anybody
mod isolation; // one tenant's token with another tenant's ids
mod known_providers; // what is remembered of a provider over time, with a given clock
mod lifecycle; // what goes and comes back: archive, restore, retention, undo
mod limits; // who asks too often, with a token and without, or begins too many sign-ins
mod listening; // a redirect, a Unix socket, sockets of systemd, a certificate of --dev
mod log; // what the provisioning log says, and what must never be in it
mod log_page; // the provisioning log in a browser: lines, filters, explanations, dry runs
mod me; // /Me: a person and their own user
mod metrics; // what Prometheus is told
mod naive_patch; // PATCH a second time, as the RFC reads
mod nested; // teams in teams: at once, in copies, undone, what follows from them
mod never_returned; // what is declared so, and what isn't declared any more, in answers, events and pages
mod openapi; // static/openapi.json against what is served
mod packaged; // what packages carry: the settings' file, manual pages, completions
mod pages; // all settings pages at once: markup, forms from elsewhere, other tenants
mod passwords; // the attribute password: set, never shown, good for signing in
mod patches; // what PATCH does: data/patch/*.json
mod people_pages; // the settings' pages of people: search, paging, one person, what can be done
mod power_loss; // the disk as a power cut leaves it, at hundreds of moments
mod pretend; // signing in by the pretend provider of --dev, who is refused, and where there is none
mod provisioning_pages; // connecting a provider and apps on the settings pages
mod proxies; // behind nginx and Caddy, by the files of packaging/proxy
mod proxy_files; // what those files say, and Traefik's, which isn't run
mod random_bulk; // random bulk requests do what the same requests do one by one
mod random_life; // random lives: the feed tells all, the archive keeps all, roles are as explained
mod random_patch; // random PATCHes do what naive_patch does
mod retention; // the archive over time and in bulk, in this process with a given clock
mod rfc; // the conformance matrix: data/rfc, a file for each requirement and each figure
mod roles; // which role a user has, and why
mod schema; // released schemas become the newest one: data/schema
mod settings_events; // the page of events: words, filters, pages
mod settings_roles; // the page of roles: previews, what is refused, another tenant’s ids, markup
mod settings_undo; // the page of undo: the list, and that exactly it comes back
mod siege; // attacks by hundreds of connections, and one that behaves: a table of figures
mod sign_in; // getting into the settings, and what keeps others out
mod sign_on; // through Entra ID, Okta, Google Workspace and others, by HTTPS under their own names
mod sign_on_attacks; // mix-ups, replays, forced sign-ins, addresses of others, providers that lie
mod sign_out; // at the provider and from there; rotated secrets; links that provisioning takes away
mod simulate; // playing a provider: against this program, and against proxies that break something
mod sorts; // in which order people come: data/sorts.txt over data/people.json
mod sso; // the settings of single sign-on, and where a client secret never shows up
mod supervised; // what systemd is told, and when it is told nothing
mod team_pages; // the settings' pages of teams: archive, restore, purge, download and import, transfer
mod tenant_copies; // one tenant out and in: the same bytes, or nothing at all
mod tidy; // the shape of the tree: arrows, sizes, names
mod tls; // HTTPS as OpenSSL and rustls see it: versions, suites, reload, stalls
mod transcripts; // conversations as files, tests/data/transcripts: a client's quirk belongs there
mod troubleshooting; // what is said when something is wrong, held against the troubleshooting guide, both ways
