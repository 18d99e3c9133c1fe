//! What is remembered of a provider over time, in this process with a given clock: when it is asked, and what stays.

use jiff::{SignedDuration, Timestamp};
use rollcall::sso::claims::{Directory, Expected, Refusal};
use rollcall::sso::fetch::{Providers, Trouble};
use serde_json::json;

use crate::internet::{Internet, Reply};
use crate::provider::Provider;

/// A provider on loopback, and what asks it.
struct World {
    internet: Internet,
    provider: Provider,
    providers: Providers,
    start: Timestamp,
}

impl World {
    fn new() -> World {
        let internet = Internet::start();
        let provider = internet.provider(&internet.plain_issuer());
        World {
            provider,
            internet,
            providers: Providers::new(true),
            start: Timestamp::from_second(1_764_000_000).unwrap(),
        }
    }

    /// Checks a good token of `signer`, so many minutes after the start.
    fn check(&self, signer: &Provider, minutes: i64) -> Result<Result<(), Refusal>, Trouble> {
        let now = self.start + SignedDuration::from_mins(minutes);
        let at = now.as_second();
        let claims = json!({"iss": signer.issuer, "aud": "client", "sub": "ana", "nonce": "n", "iat": at, "exp": at + 60});
        let expected = Expected {
            issuer: &self.provider.issuer,
            client_id: "client",
            nonce: "n",
            directory: Directory::Any,
        };
        let checked = self.providers.check(&signer.token(&claims), &expected, now);
        checked.map(|checked| checked.map(drop))
    }

    /// How often its keys were asked for.
    fn asked(&self) -> usize {
        let url = self.provider.keys_url();
        let (_, place) = url.split_once("://").unwrap();
        self.internet.asked(&format!("GET {place}"))
    }
}

#[test]
fn an_unknown_key_has_the_keys_asked_for_anew_at_most_every_five_minutes() {
    let world = World::new();
    let (old, new) = (&world.provider, world.provider.with_key(1));
    assert_eq!(world.check(old, 0), Ok(Ok(())));
    for minutes in [1, 2, 4] {
        assert_eq!(world.check(&new, minutes), Ok(Err(Refusal::UnknownKey)));
    }
    assert_eq!(world.asked(), 1);
    assert_eq!(world.check(&new, 6), Ok(Err(Refusal::UnknownKey)));
    assert_eq!(world.asked(), 2);
    world.provider.publish_keys(json!([old.jwk(), new.jwk()]));
    assert_eq!(world.check(&new, 7), Ok(Err(Refusal::UnknownKey)));
    assert_eq!(world.asked(), 2, "a minute later not again");
    assert_eq!(world.check(&new, 12), Ok(Ok(())));
    assert_eq!(
        world.check(old, 12),
        Ok(Ok(())),
        "both are good, in any order"
    );
    world.provider.publish_keys(json!([new.jwk()]));
    assert_eq!(
        world.check(&world.provider.with_key(2), 18),
        Ok(Err(Refusal::UnknownKey))
    );
    assert_eq!(
        world.check(old, 18),
        Ok(Err(Refusal::UnknownKey)),
        "a key that is withdrawn"
    );
    assert_eq!(world.asked(), 4);
}

#[test]
fn what_was_good_last_stays_in_use_while_the_provider_is_away_or_lies() {
    let world = World::new();
    let day = 24 * 60;
    assert_eq!(world.check(&world.provider, 0), Ok(Ok(())));
    assert_eq!(world.check(&world.provider, day - 1), Ok(Ok(())));
    assert_eq!(world.asked(), 1, "for a day nothing is asked");
    for (minutes, reply) in [
        (day, Reply::Nothing),
        (
            day + 6,
            Reply::Raw(503, "text/html", String::new(), b"<h1>".to_vec()),
        ),
        (day + 12, Reply::Json(json!({"keys": 7}))),
        (
            day + 18,
            Reply::Raw(
                200,
                "application/json",
                String::new(),
                vec![b' '; 10_000_000],
            ),
        ),
    ] {
        world.internet.put(&world.provider.keys_url(), reply);
        assert_eq!(
            world.check(&world.provider, minutes),
            Ok(Ok(())),
            "{minutes}"
        );
        let asked = world.asked();
        assert_eq!(world.check(&world.provider, minutes + 1), Ok(Ok(())));
        assert_eq!(world.asked(), asked, "it is left alone for five minutes");
    }
    assert_eq!(world.asked(), 5);
    world.internet.put(
        &world.provider.document_url(),
        Reply::Json(json!({"issuer": "https://evil.example"})),
    );
    assert_eq!(world.check(&world.provider, day + 24), Ok(Ok(())));
    assert_eq!(
        world.asked(),
        5,
        "whose document lies is not asked for keys"
    );
    let new = world.provider.with_key(1);
    new.publish(json!({}));
    assert_eq!(
        world.check(&new, day + 30),
        Ok(Ok(())),
        "it is back, with another key"
    );
    assert_eq!(
        world.check(&world.provider, day + 30),
        Ok(Err(Refusal::UnknownKey))
    );
    // Who was never known has nothing that was good.
    let fresh = World::new();
    fresh
        .internet
        .put(&fresh.provider.keys_url(), Reply::Nothing);
    assert!(matches!(
        fresh.check(&fresh.provider, 0),
        Err(Trouble::Unreachable(_))
    ));
}
