//! `rollcall export` and `rollcall import`

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, Outcome, failure, look, now, table};
use crate::error::Doing;
use crate::manage::tenant_copies::{self, Events};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Whose
    #[arg(long)]
    tenant: String,
    /// With the event feed, on which the history is built
    #[arg(long)]
    events: bool,
    /// File to make; - is standard output
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// What `export` wrote; - is standard input
    file: PathBuf,
}

pub(super) fn export(data: &Path, arguments: &Export) -> Outcome {
    let events = if arguments.events {
        Events::Along
    } else {
        Events::Behind
    };
    let write = |out: &mut dyn Write| {
        look(data, &arguments.tenant, |snapshot, tenant| {
            tenant_copies::export(snapshot, tenant, events, out)
        })
    };
    let rows = if is_dash(&arguments.file) {
        write(&mut BufWriter::new(io::stdout().lock()))?
    } else {
        to_new_file(&arguments.file, write)?
    };
    eprintln!("exported {rows} rows");
    Ok(())
}

/// Makes a file that only we can read, since it holds people's data; none is left where something fails.
fn to_new_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<u64, Failure>,
) -> Result<u64, Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| failure(format!("cannot make {}: {error}", path.display())))?;
    let written = write(&mut BufWriter::new(&file)).and_then(|rows| {
        file.sync_all().doing("writing the copy to disk")?;
        Ok(rows)
    });
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

pub(super) fn import(data: &Path, arguments: &Import) -> Outcome {
    let mut copy: Box<dyn BufRead + Send> = if is_dash(&arguments.file) {
        // Read before the transaction begins: whoever fills a pipe slowly must not hold up the server.
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        Box::new(Cursor::new(bytes))
    } else {
        let file = File::open(&arguments.file).map_err(|error| {
            failure(format!("cannot read {}: {error}", arguments.file.display()))
        })?;
        Box::new(BufReader::new(file))
    };
    let imported =
        Store::open(data)?.write(now(), move |tx| tenant_copies::import(tx, copy.as_mut()))?;
    eprintln!(
        "imported tenant {}: {} rows",
        table::printable(&imported.name),
        imported.rows
    );
    Ok(())
}

fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}
