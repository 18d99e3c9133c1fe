//! What a power cut leaves of a folder: the journal of `preload/journal.c`, read back and cut off.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Below this, a disk writes a sector whole or not at all; SQLite relies on no more.
const SECTOR: usize = 512;

/// One thing that reached a file.
pub struct Entry {
    name: String,
    deed: Deed,
    /// How long the journal was with it.
    pub end: u64,
}

enum Deed {
    Write { offset: usize, data: Vec<u8> },
    Truncate { length: usize },
    Sync,
    Unlink,
    Rename { to: String },
}

impl Entry {
    /// Whether it writes into the database's own file, as a checkpoint does.
    pub fn is_checkpoint(&self) -> bool {
        self.name.ends_with("/rollcall.db") && matches!(self.deed, Deed::Write { .. })
    }
}

/// The journal, whose last entry may be cut short: the process was killed.
pub fn read_journal(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 21) {
        let number = |from: usize| u64::from_le_bytes(head[from..from + 8].try_into().unwrap());
        let name_length = u32::from_le_bytes(head[1..5].try_into().unwrap()) as usize;
        let (offset, length) = (number(5) as usize, number(13) as usize);
        let (name, data) = (at + 21, at + 21 + name_length);
        let Some(data) = bytes.get(data..data + length) else {
            break;
        };
        let deed = match head[0] {
            1 => Deed::Write {
                offset,
                data: data.to_vec(),
            },
            2 => Deed::Truncate { length: offset },
            3 => Deed::Sync,
            4 => Deed::Unlink,
            5 => Deed::Rename {
                to: String::from_utf8(data.to_vec()).unwrap(),
            },
            other => panic!("kind {other} at {at}"),
        };
        at += 21 + name_length + length;
        entries.push(Entry {
            name: String::from_utf8(bytes[name..name + name_length].to_vec()).unwrap(),
            deed,
            end: at as u64,
        });
    }
    entries
}

/// What a disk holds of a write that nothing has synced.
#[derive(Clone, Copy, Debug)]
pub enum Unsynced {
    /// Nothing: all of it was in the drive's memory.
    Lost,
    /// All of it.
    Kept,
    /// Some sectors and not others, in no order; by this number.
    Torn(u64),
}

/// A disk under the entries of a journal, one after the other.
pub struct Disk<'a> {
    files: BTreeMap<String, File<'a>>,
    ignores_syncs: bool,
}

#[derive(Default)]
struct File<'a> {
    synced: Vec<u8>,
    pending: Vec<&'a Deed>,
}

impl<'a> Disk<'a> {
    /// An empty one; one that `ignores_syncs` answers them and does nothing.
    pub fn new(ignores_syncs: bool) -> Disk<'a> {
        Disk {
            files: BTreeMap::new(),
            ignores_syncs,
        }
    }

    /// Does what `entry` tells.
    pub fn apply(&mut self, entry: &'a Entry) {
        match &entry.deed {
            Deed::Unlink => drop(self.files.remove(&entry.name)),
            Deed::Rename { to } => {
                let file = self.files.remove(&entry.name).unwrap_or_default();
                self.files.insert(to.clone(), file);
            }
            Deed::Sync if self.ignores_syncs => (),
            Deed::Sync => {
                let file = self.files.entry(entry.name.clone()).or_default();
                let pending = std::mem::take(&mut file.pending);
                pending
                    .into_iter()
                    .for_each(|deed| perform(deed, &mut file.synced, &mut |_| true));
            }
            deed => self
                .files
                .entry(entry.name.clone())
                .or_default()
                .pending
                .push(deed),
        }
    }

    /// Writes to `to` what is there after the power has gone; `from` is the folder that the journal tells of.
    pub fn cut(&self, unsynced: Unsynced, from: &Path, to: &Path) {
        let mut random = match unsynced {
            Unsynced::Torn(seed) => seed.wrapping_mul(2).wrapping_add(1),
            _ => 1,
        };
        let mut keeps = |_sector: usize| match unsynced {
            Unsynced::Lost => false,
            Unsynced::Kept => true,
            Unsynced::Torn(_) => {
                // xorshift: the same sectors in each run.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random & 1 == 0
            }
        };
        for (name, file) in &self.files {
            // SQLite makes the index of the WAL anew, and a lock is nothing on the disk.
            if name.ends_with("-shm") {
                continue;
            }
            let mut bytes = file.synced.clone();
            file.pending
                .iter()
                .for_each(|deed| perform(deed, &mut bytes, &mut keeps));
            let path = to.join(Path::new(name).strip_prefix(from).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

/// Does `deed` to a file, of each of its sectors only if `keeps` says so.
fn perform(deed: &Deed, bytes: &mut Vec<u8>, keeps: &mut impl FnMut(usize) -> bool) {
    match deed {
        Deed::Write { offset, data } => {
            let mut done = 0;
            while done < data.len() {
                let at = offset + done;
                let length = (SECTOR - at % SECTOR).min(data.len() - done);
                if keeps(at / SECTOR) {
                    let end = at + length;
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[at..end].copy_from_slice(&data[done..done + length]);
                }
                done += length;
            }
        }
        Deed::Truncate { length } if keeps(0) => bytes.resize(*length, 0),
        _ => (),
    }
}
