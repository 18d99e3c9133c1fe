use std::sync::atomic::AtomicU64;
use std::sync::mpsc::channel;
use std::time::Instant;

use serde_json::json;

use super::queue::{
    CROWDED_EXCHANGES, EXCHANGES_OF_BUSY_READERS, GATHERING, MAX_EXCHANGES, MAX_WAITING_EXCHANGES,
};
use super::*;
use crate::error::Error;
use crate::scim::ScimError;
use crate::scim::filter::Filter;
use crate::scim::resource::Document;
use crate::scim::schema::Kind;
use crate::store::fixture::{Fixture, at, document, exchange, fixture};
use crate::store::{Store, TenantId, exchanges, place, resources, roles, tenants};

/// The names of all tenants, read anew.
#[track_caller]
fn names(store: &Store) -> Vec<String> {
    store
        .read(tenants::list)
        .unwrap()
        .into_iter()
        .map(|tenant| tenant.name)
        .collect()
}

/// How many users there are, counted one by one.
#[track_caller]
fn total(store: &Store, tenant: TenantId) -> u64 {
    let filter = Filter::parse("userName pr").unwrap();
    let query = resources::Query {
        kinds: &[Kind::User],
        filter: Some(&filter),
        sort_by: None,
        descending: false,
        start: place::Start::Offset(0),
        limit: 0,
    };
    store
        .read(|snapshot| resources::search::<Document>(snapshot, tenant, &query))
        .unwrap()
        .total
}

/// Keeps the writer busy until the sender is used or dropped, so that a batch gathers.
fn busy<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    store: &'scope Store,
) -> mpsc::Sender<()> {
    let (started, has_started) = channel();
    let (go_on, may_go_on) = channel();
    scope.spawn(move || {
        store.write(at(0), move |_| {
            started.send(()).unwrap();
            let _ = may_go_on.recv();
            Ok(())
        })
    });
    has_started.recv().unwrap();
    go_on
}

#[test]
fn a_refused_change_is_undone_alone() {
    let fixture = fixture();
    let store = &fixture.store;
    std::thread::scope(|scope| {
        let go_on = busy(scope, store);
        let good = [
            scope.spawn(|| store.write(at(0), |tx| tenants::create(tx, "before"))),
            scope.spawn(|| store.write(at(0), |tx| tenants::create(tx, "behind"))),
        ];
        let refused = scope.spawn(|| {
            store.write(at(0), |tx| {
                tenants::create(tx, "refused")?;
                Err::<(), _>(ScimError::uniqueness("userName is taken").into())
            })
        });
        while store.writer.queue.lock().changes.len() < 3 {
            std::thread::yield_now();
        }
        drop(go_on);
        let Err(Error::Scim(error)) = refused.join().unwrap() else {
            panic!("it was to be refused")
        };
        assert_eq!(error.status(), 409);
        for change in good {
            assert!(change.join().unwrap().unwrap().is_some());
        }
    });
    assert_eq!(names(store), ["acme", "before", "behind"]);
}

#[test]
fn changes_that_can_be_made_again_are_where_a_refused_one_had_written() {
    let fixture = fixture();
    let store = &fixture.store;
    let times = Arc::new(AtomicU64::new(0));
    // Counts and writes; a name that begins with "bad" is refused after that, and an empty one before.
    let make = |name: &'static str| {
        let times = times.clone();
        move |tx: &Tx<'_>| {
            times.fetch_add(1, Ordering::Relaxed);
            let refusal = || ScimError::uniqueness("userName is taken").into();
            if name.is_empty() {
                return Err(refusal());
            }
            tenants::create(tx, name)?;
            if name.starts_with("bad") {
                Err(refusal())
            } else {
                Ok(())
            }
        }
    };
    for (names_made, runs, kept) in [
        (["a", "", "b"], 3, vec!["a", "acme", "b"]),
        (["c", "bad", "d"], 5, vec!["a", "acme", "b", "c", "d"]),
    ] {
        times.store(0, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let go_on = busy(scope, store);
            for (number, name) in names_made.into_iter().enumerate() {
                let change = make(name);
                scope.spawn(move || {
                    let made = store.write_again(at(0), change);
                    assert_eq!(made.is_ok(), !name.is_empty() && name != "bad");
                });
                while store.writer.queue.lock().changes.len() <= number {
                    std::thread::yield_now();
                }
            }
            drop(go_on);
        });
        assert_eq!(
            (times.load(Ordering::Relaxed), names(store)),
            (runs, kept.into_iter().map(str::to_owned).collect())
        );
    }
}

/// What the writer knows from its last look is what another process left there.
#[test]
fn what_others_wrote_is_no_longer_taken_as_known() {
    let fixture = fixture();
    let (ours, tenant) = (&fixture.store, fixture.tenant);
    let other = Store::open(fixture.dir.path()).unwrap();
    let count = || {
        let roles = move |tx: &Tx<'_>| Ok(roles::rules(tx, tenant)?.roles.len());
        ours.write_again(at(0), roles).unwrap()
    };
    let before = [count(), count()];
    let add = move |tx: &Tx<'_>| roles::add(tx, tenant, "guest", false);
    other.write(at(0), add).unwrap();
    assert_eq!((before, count()), ([5, 5], 6));
    ours.write(at(0), move |tx| roles::add(tx, tenant, "visitor", false))
        .unwrap();
    assert_eq!(count(), 7);
}

#[test]
fn a_panic_in_a_change_is_an_error_and_the_writer_lives_on() {
    let fixture = fixture();
    let change = |tx: &Tx<'_>| {
        tenants::create(tx, "lost")?;
        if tx.now == at(0) {
            panic!("on purpose");
        }
        Ok(())
    };
    let error = fixture.store.write(at(0), change).unwrap_err();
    assert!(error.to_string().contains("on purpose"), "{error}");
    fixture
        .store
        .write(at(1), |tx| tenants::create(tx, "kept"))
        .unwrap();
    assert_eq!(names(&fixture.store), ["acme", "kept"]);
}

#[test]
fn a_part_that_fails_is_undone_alone_and_a_panic_in_one_undoes_all() {
    let fixture = fixture();
    let create = |tx: &Tx<'_>, name: &str| tenants::create(tx, name).map(drop);
    let half = move |tx: &Tx<'_>| {
        create(tx, "first")?;
        let refused = tx.part(|tx| {
            create(tx, "undone")?;
            Err::<(), _>(ScimError::not_found("on purpose").into())
        })?;
        assert!(matches!(refused, Err(Error::Scim(_))));
        tx.part(|tx| create(tx, "second"))??;
        create(tx, "third")
    };
    fixture.store.write(at(0), half).unwrap();
    assert_eq!(names(&fixture.store), ["acme", "first", "second", "third"]);

    let panicking = move |tx: &Tx<'_>| {
        create(tx, "before")?;
        tx.part(|tx| -> Result<()> {
            create(tx, "within")?;
            panic!("on purpose")
        })?
    };
    fixture.store.write(at(0), panicking).unwrap_err();
    let after = move |tx: &Tx<'_>| create(tx, "after");
    fixture.store.write(at(0), after).unwrap();
    let names = names(&fixture.store);
    assert_eq!(names, ["acme", "after", "first", "second", "third"]);
}

#[test]
fn what_was_acknowledged_is_there_after_a_reopening() {
    let fixture = fixture();
    let (store, tenant) = (&fixture.store, fixture.tenant);
    std::thread::scope(|scope| {
        for thread in 0..16 {
            scope.spawn(move || {
                for number in 0..25 {
                    let user = document(json!({"userName": format!("{thread}-{number}")}));
                    store
                        .write(at(0), move |tx| {
                            resources::insert(tx, tenant, Kind::User, user)
                        })
                        .unwrap();
                }
            });
        }
    });
    fixture.store.close().unwrap();
    let store = Store::open(fixture.dir.path()).unwrap();
    assert_eq!(total(&store, tenant), 400);
}

#[test]
fn when_the_commit_fails_nobody_is_told_that_it_held() {
    let fixture = fixture();
    let other = Connection::open(fixture.dir.path().join("rollcall.db")).unwrap();
    other.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    // A deferred constraint is looked at when the transaction commits, so this is a commit that fails.
    other
        .execute_batch(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);",
        )
        .unwrap();
    let error = fixture
        .store
        .write(at(0), |tx| {
            tenants::create(tx, "lost")?;
            tx.conn
                .execute_batch("INSERT INTO child VALUES (1)")
                .doing("breaking the commit")
        })
        .unwrap_err();
    assert!(matches!(error, Error::Internal { .. }), "{error}");
    fixture
        .store
        .write(at(0), |tx| tenants::create(tx, "kept"))
        .unwrap();
    assert_eq!(names(&fixture.store), ["acme", "kept"]);
}

#[test]
fn when_sqlite_gives_up_the_transaction_the_rest_of_the_batch_is_not_run() {
    let fixture = fixture();
    let store = &fixture.store;
    std::thread::scope(|scope| {
        let go_on = busy(scope, store);
        let end = |tx: &Tx<'_>| {
            tx.conn
                .execute_batch("ROLLBACK")
                .doing("ending the transaction")
        };
        let changes = [
            scope.spawn(move || store.write(at(0), end)),
            scope.spawn(|| store.write(at(0), |tx| tenants::create(tx, "behind").map(drop))),
        ];
        while store.writer.queue.lock().changes.len() < 2 {
            std::thread::yield_now();
        }
        drop(go_on);
        for change in changes {
            change.join().unwrap().unwrap_err();
        }
    });
    store
        .write(at(0), |tx| tenants::create(tx, "kept"))
        .unwrap();
    assert_eq!(names(store), ["acme", "kept"]);
}

#[test]
fn recorded_exchanges_are_stored_without_a_change_that_takes_them_along() {
    let fixture = fixture();
    let token = fixture.token();
    for _ in 0..MAX_EXCHANGES + 1 {
        fixture.store.record(exchange(fixture.tenant, token.id));
    }
    let recorded = || {
        fixture
            .store
            .read(|snapshot| exchanges::after(snapshot, None, 0, 10_000))
            .unwrap()
            .len()
    };
    while recorded() <= MAX_EXCHANGES {
        std::thread::yield_now();
    }
}

#[test]
fn a_change_that_is_refused_alone_is_undone_and_takes_no_exchange_with_it() {
    let fixture = fixture();
    let (store, tenant, token) = (&fixture.store, fixture.tenant, fixture.token().id);
    std::thread::scope(|scope| {
        let go_on = busy(scope, store);
        store.record(exchange(tenant, token));
        let refused = scope.spawn(|| {
            store.write(at(0), |tx| {
                tenants::create(tx, "refused")?;
                Err::<(), _>(ScimError::uniqueness("userName is taken").into())
            })
        });
        while store.writer.queue.lock().changes.is_empty() {
            std::thread::yield_now();
        }
        drop(go_on);
        refused.join().unwrap().unwrap_err();
    });
    assert_eq!(names(store), ["acme"]);
    let recorded = store.read(|snapshot| exchanges::after(snapshot, None, 0, 10));
    assert_eq!(recorded.unwrap().len(), 1);
}

/// How many lines the log has once the store was closed.
fn recorded_in_the_end(fixture: Fixture) -> usize {
    fixture.store.close().unwrap();
    let store = Store::open(fixture.dir.path()).unwrap();
    let recorded = store.read(|snapshot| exchanges::after(snapshot, None, 0, 10_000));
    recorded.unwrap().len()
}

#[test]
fn an_overflow_of_exchanges_is_counted_and_the_rest_kept() {
    let fixture = fixture();
    let store = &fixture.store;
    let token = fixture.token();
    std::thread::scope(|scope| {
        let _go_on = busy(scope, store);
        for _ in 0..MAX_WAITING_EXCHANGES + 3 {
            store.record_at_once(exchange(fixture.tenant, token.id));
        }
    });
    assert_eq!(store.dropped_exchanges(), 3);
    assert_eq!(recorded_in_the_end(fixture), MAX_WAITING_EXCHANGES);
}

#[test]
fn who_finds_many_exchanges_waits_for_the_log_and_not_for_long() {
    let fixture = fixture();
    let (store, tenant, token) = (&fixture.store, fixture.tenant, fixture.token().id);
    let record = |patience| {
        let line = exchange(tenant, token);
        store.writer.queue.add_exchange(patience, line);
    };
    let waiting = || store.writer.queue.lock().exchanges.len();
    std::thread::scope(|scope| {
        let go_on = busy(scope, store);
        for _ in 0..CROWDED_EXCHANGES {
            store.record_at_once(exchange(tenant, token));
        }
        record(Duration::from_millis(1));
        assert_eq!(waiting(), CROWDED_EXCHANGES + 1);
        let patient: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| record(Duration::from_secs(60))))
            .collect();
        assert_eq!(waiting(), CROWDED_EXCHANGES + 1);
        let free = Instant::now();
        drop(go_on);
        patient
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        // They were woken, and didn't wait for the end of their patience.
        assert!(free.elapsed() < Duration::from_secs(30));
    });
    assert_eq!(store.dropped_exchanges(), 0);
    assert_eq!(recorded_in_the_end(fixture), CROWDED_EXCHANGES + 9);
}

#[test]
fn changes_gather_beside_busy_readers_and_not_otherwise() {
    let tenant = TenantId(1);
    let take = |exchanges| {
        let queue = Queue::default();
        for _ in 0..exchanges {
            queue.add_exchange(Duration::ZERO, exchange(tenant, 0));
        }
        let started = Instant::now();
        let (changes, along) = std::thread::scope(|scope| {
            queue.add_change(waiting());
            let second = scope.spawn(|| queue.add_change(waiting()));
            let batch = queue.next().unwrap();
            second.join().unwrap();
            batch
        });
        assert_eq!(along.len(), exchanges);
        (changes.len(), started.elapsed())
    };
    let busy: Vec<_> = (0..50).map(|_| take(EXCHANGES_OF_BUSY_READERS)).collect();
    assert!(busy.iter().all(|(_, time)| *time >= GATHERING), "{busy:?}");
    assert!(busy.iter().any(|(changes, _)| *changes == 2), "{busy:?}");
    let calm: Vec<_> = (0..50)
        .map(|_| take(EXCHANGES_OF_BUSY_READERS - 1))
        .collect();
    assert!(calm.iter().any(|(_, time)| *time < GATHERING), "{calm:?}");
}

/// A change that is only taken.
fn waiting() -> Change {
    Change {
        now: at(0),
        run: Box::new(|_| unreachable!("it is only taken")),
        repeats: true,
        lost: Box::new(|_| {}),
    }
}

#[test]
fn exchanges_make_room_for_a_change_and_are_recorded_after_it_in_their_order() {
    let fixture = fixture();
    let line = |n| Exchange {
        action: format!("read {n}"),
        ..exchange(fixture.tenant, 0)
    };
    let lines: Vec<_> = (0..100).map(line).collect();
    let queue = Queue::default();
    let add = |lines: &[Exchange]| {
        (lines.iter()).for_each(|line| queue.add_exchange(Duration::ZERO, line.clone()));
    };
    let file = fixture.dir.path().join("rollcall.db");
    let (conn, anchor) = (
        crate::store::connection::open(&file).unwrap(),
        Anchor::of(&file),
    );
    let known = Known::default();
    // Commits what was taken and nothing else; how much of it.
    let record = |mut taken: Vec<Exchange>| {
        let mut recorded = 0;
        commit(
            &conn,
            &anchor,
            &known,
            &mut [],
            &taken,
            &mut recorded,
            &queue,
        )
        .unwrap();
        queue.give_back(taken.split_off(recorded));
        recorded
    };
    add(&lines[..99]);
    let (_, taken) = queue.next().unwrap();
    assert_eq!(taken.len(), 99);
    add(&lines[99..]);
    queue.add_change(waiting());
    assert_eq!(record(taken), AT_ONCE);
    let (changes, taken) = queue.next().unwrap();
    assert_eq!((changes.len(), record(taken)), (1, 100 - AT_ONCE));
    let kept = fixture
        .store
        .read(|snapshot| exchanges::last(snapshot, None, 200));
    let kept = kept.unwrap().into_iter().map(|line| line.exchange);
    assert_eq!(kept.collect::<Vec<_>>(), lines);
}

#[test]
fn what_is_given_back_leaves_the_bound_of_what_waits() {
    let queue = Queue::default();
    let add = |count| {
        (0..count).for_each(|_| queue.add_exchange(Duration::ZERO, exchange(TenantId(1), 0)));
    };
    add(MAX_EXCHANGES);
    let (_, taken) = queue.next().unwrap();
    add(MAX_WAITING_EXCHANGES);
    queue.give_back(taken);
    add(3);
    assert_eq!(queue.dropped_exchanges.load(Ordering::Relaxed), 3);
}

#[test]
fn the_exchange_of_a_tenant_that_is_gone_harms_no_other() {
    let fixture = fixture();
    let token = fixture.token();
    let tenants = |n| match n {
        5 | 70 => TenantId(99),
        _ => fixture.tenant,
    };
    for n in 0..75 {
        fixture.store.record(exchange(tenants(n), token.id));
    }
    assert_eq!(recorded_in_the_end(fixture), 73);
}

#[test]
fn closing_leaves_neither_wal_nor_shared_memory() {
    let fixture = fixture();
    fixture.store.read(tenants::list).unwrap();
    fixture.store.close().unwrap();
    let files = std::fs::read_dir(fixture.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert_eq!(files, ["rollcall.db", "store.lock"]);
}

#[test]
fn two_processes_write_to_one_file() {
    let fixture = fixture();
    let tenant = fixture.tenant;
    let command = Store::open(fixture.dir.path()).unwrap();
    std::thread::scope(|scope| {
        for (number, store) in [&fixture.store, &command].into_iter().enumerate() {
            scope.spawn(move || {
                for user in 0..50 {
                    let user = document(json!({"userName": format!("{number}-{user}")}));
                    store
                        .write(at(0), move |tx| {
                            resources::insert(tx, tenant, Kind::User, user)
                        })
                        .unwrap();
                }
            });
        }
    });
    command.close().unwrap();
    assert_eq!(total(&fixture.store, tenant), 100);
}
