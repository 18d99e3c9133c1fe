//! Cursors (RFC 9865): where the next page of a search begins, as a text that only we can read.
//!
//! A cursor is sealed by AES-256-GCM-SIV under a key of the database, together with the tenant and the search that it
//! belongs to: one that was made up, changed, or taken to another search or tenant doesn't open, and all of them are
//! refused in the same words (§5.2). Nothing is kept for it here, so cursors cost nothing, however many there are (§5.3),
//! and last through restarts.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use serde_json::{Value, json};

use super::{Call, page_size};
use crate::error::{Doing, Result};
use crate::scim::ScimError;
use crate::scim::discovery::CURSOR_TIMEOUT_SECS;
use crate::scim::message::SearchRequest;
use crate::scim::schema::Kind;
use crate::store::place::{Place, Start};
use crate::store::{Snapshot, cursor_key};

/// The cursors of one search.
pub(super) struct Cursors {
    key: RandomizedNonceKey,
    /// What they belong to.
    search: String,
    /// Most resources on a page.
    count: u64,
    /// Unix seconds.
    now: i64,
    /// The one that was sent; empty for the first page.
    sent: String,
}

impl Cursors {
    /// `None` where pages are asked for by index.
    pub fn of(
        snapshot: &Snapshot<'_>,
        call: &Call,
        kinds: &[Kind],
        request: &SearchRequest,
    ) -> Result<Option<Cursors>> {
        let Some(sent) = &request.cursor else {
            return Ok(None);
        };
        let key = cursor_key::get(snapshot)?;
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
        // The RFC's own example spells userName otherwise in the second request (§2), so names are compared in any case.
        let filter = (request.filter.as_ref()).map(|it| it.lower_case_names().to_string());
        let sort_by = (request.sort_by.as_ref()).map(|it| it.lower_case().to_string());
        Ok(Some(Cursors {
            key: RandomizedNonceKey::new(&AES_256_GCM_SIV, &key).doing("taking a key")?,
            search: json!([call.tenant.0, kinds, filter, sort_by, request.descending]).to_string(),
            count: page_size(request),
            now: call.now.as_second(),
            sent: sent.clone(),
        }))
    }

    /// Where the page begins that the sent cursor asks for.
    ///
    /// # Errors
    /// 400 `invalidCursor` for one that this search didn't give, 400 `expiredCursor` for an old one, 400 `invalidCount`
    /// where pages had another size before.
    pub fn start(&self) -> std::result::Result<Start, ScimError> {
        if self.sent.is_empty() {
            return Ok(Start::After(None));
        }
        let (start, count, issued) = self.opened().ok_or_else(|| {
            ScimError::invalid_cursor(
                "cursor is not one that was given for this search: leave it empty for the first page, \
                 then send nextCursor as it came, with the same filter, sortBy and sortOrder",
            )
        })?;
        if self.now - issued > CURSOR_TIMEOUT_SECS {
            return Err(ScimError::expired_cursor(format!(
                "cursor was given more than {CURSOR_TIMEOUT_SECS} seconds ago: begin again with an empty one"
            )));
        }
        if count != self.count {
            return Err(ScimError::invalid_count(format!(
                "count is {} where the search began with {count}",
                self.count
            )));
        }
        Ok(start)
    }

    /// A cursor for the page that begins, or ends, there: digits and letters alone (RFC 3986 §2.3).
    pub fn cursor(&self, start: &Start) -> Result<String> {
        let (place, backward) = match start {
            Start::After(place) => (place.as_ref(), false),
            Start::Before(place) => (Some(place), true),
            Start::Offset(_) => (None, false),
        };
        let place = place.map(Place::to_json);
        let mut text = json!([self.now, self.count, backward, place])
            .to_string()
            .into_bytes();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(self.search.as_bytes()), &mut text)
            .doing("sealing a cursor")?;
        let bytes = nonce.as_ref().iter().chain(&text);
        Ok(bytes.map(|byte| format!("{byte:02x}")).collect())
    }

    fn opened(&self) -> Option<(Start, u64, i64)> {
        let mut bytes = bytes(&self.sent)?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(self.search.as_bytes());
        let text = self.key.open_in_place(nonce, aad, text).ok()?;
        let opened: Value = serde_json::from_slice(text).ok()?;
        let place = match &opened[3] {
            Value::Null => None,
            place => Some(Place::from_json(place)?),
        };
        let start = match (place, opened[2].as_bool()?) {
            (Some(place), true) => Start::Before(place),
            (place, _) => Start::After(place),
        };
        Some((start, opened[1].as_u64()?, opened[0].as_i64()?))
    }
}

/// From hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    };
    pairs.map(byte).collect()
}
