//! Secrets of others that have to be read again, such as the client secret of a sign-in: sealed by AES-256-GCM under a key
//! that is kept beside the database and not in it, so that who has a copy of the one file can read none of them.
//!
//! What a secret belongs to is sealed with it: moved to another row, it no longer opens.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;

use crate::error::{Doing, Result};

/// Bytes of a key.
const KEY_LEN: usize = 32;

/// What seals and opens.
pub struct Key(RandomizedNonceKey);

impl Key {
    /// The key of these random bytes.
    pub fn new(bytes: &[u8; KEY_LEN]) -> Result<Key> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes)
            .map(Key)
            .doing("taking a key")
    }

    /// Nonce, ciphertext and tag. `whose` names what the secret belongs to, and has to be said again to open it.
    pub fn seal(&self, secret: &str, whose: &str) -> Result<Vec<u8>> {
        let mut text = secret.as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(whose.as_bytes()), &mut text)
            .doing("sealing a secret")?;
        Ok([nonce.as_ref().as_slice(), &text].concat())
    }

    /// The secret; `None` where it was sealed with another key or for something else, or was changed since.
    pub fn open(&self, sealed: &[u8], whose: &str) -> Option<String> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let secret = self
            .0
            .open_in_place(nonce, Aad::from(whose.as_bytes()), &mut text)
            .ok()?;
        String::from_utf8(secret.to_vec()).ok()
    }
}

/// Shows nothing of it.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Where the key is kept: 32 random bytes, readable by the server's own account alone.
#[derive(Clone, Debug)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// The file at this path, which need not exist yet.
    pub fn at(path: PathBuf) -> KeyFile {
        KeyFile(path)
    }

    /// Its path, for words.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The key; `None` where there is no such file.
    pub fn read(&self) -> Result<Option<Key>> {
        match fs::read(&self.0) {
            Ok(bytes) => {
                let bytes: [u8; KEY_LEN] = bytes
                    .try_into()
                    .map_err(|bytes: Vec<u8>| {
                        format!(
                            "{} has {} bytes and not {KEY_LEN}: restore it from a backup, or move it away and enter the \
                             client secrets again",
                            self.0.display(),
                            bytes.len()
                        )
                    })
                    .doing("reading the key file")?;
                Key::new(&bytes).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("reading the key file"),
        }
    }

    /// The key, which is made where there is no such file. For the writer thread alone, so that two never make one at
    /// the same time.
    pub fn read_or_make(&self) -> Result<Key> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        let mut bytes = [0; KEY_LEN];
        rand::fill(&mut bytes).doing("drawing random bits")?;
        self.keep(&bytes).doing("writing the key file")?;
        log::info!(
            "made {}: back it up apart from the database",
            self.0.display()
        );
        Key::new(&bytes)
    }

    /// Whole or not at all: what is sealed with a key that a power cut took away could never be opened.
    fn keep(&self, bytes: &[u8; KEY_LEN]) -> io::Result<()> {
        let unfinished = self.0.with_extension("key.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &self.0)?;
        let folder = self
            .0
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const WHOSE: &str = "tenant 1";

    #[test]
    fn opens_what_it_sealed_and_seals_each_time_differently() {
        let key = Key::new(&[7; KEY_LEN]).unwrap();
        for secret in ["", "s3cr3t", "gehëim ✓"] {
            let sealed = key.seal(secret, WHOSE).unwrap();
            assert_eq!(key.open(&sealed, WHOSE).as_deref(), Some(secret));
            assert_ne!(sealed, key.seal(secret, WHOSE).unwrap());
        }
        assert_eq!(format!("{key:?}"), "Key(…)");
    }

    #[test]
    fn refuses_another_key_another_owner_and_every_flipped_bit() {
        let key = Key::new(&[7; KEY_LEN]).unwrap();
        let sealed = key.seal("s3cr3t", WHOSE).unwrap();
        assert_eq!(Key::new(&[8; KEY_LEN]).unwrap().open(&sealed, WHOSE), None);
        assert_eq!(key.open(&sealed, "tenant 2"), None);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&changed, WHOSE), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(key.open(&sealed[..length], WHOSE), None, "{length} bytes");
        }
    }

    #[test]
    fn the_key_is_made_once_closed_to_others_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(folder.path().join("rollcall.key"));
        assert!(file.read().unwrap().is_none());
        let sealed = file.read_or_make().unwrap().seal("s3cr3t", WHOSE).unwrap();
        let again = file.read_or_make().unwrap();
        assert_eq!(again.open(&sealed, WHOSE).as_deref(), Some("s3cr3t"));
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(file.path(), "short").unwrap();
        let error = file.read_or_make().unwrap_err().to_string();
        assert!(error.contains("has 5 bytes"), "{error}");
        assert_eq!(fs::read(file.path()).unwrap(), b"short");
    }
}
