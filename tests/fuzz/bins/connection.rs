#![no_main]

use std::sync::{LazyLock, Mutex};

use rollcall_fuzz::connection::Servers;

static SERVERS: LazyLock<Mutex<Servers>> = LazyLock::new(|| Mutex::new(Servers::start()));

libfuzzer_sys::fuzz_target!(|data: &[u8]| SERVERS.lock().unwrap().run(data));
