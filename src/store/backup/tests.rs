use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::store::fixture::{at, fixture, tenant};

fn names(dir: &Path) -> Vec<String> {
    let listed = list(dir).unwrap().into_iter();
    listed.map(|backup| backup.name).collect()
}

#[test]
fn a_backup_is_one_file_that_opens_by_itself_and_holds_the_moment() {
    let fixture = fixture();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("copy.db");
    let made = make(&fixture.store, &file, Existing::Keep).unwrap();
    tenant(&fixture.store, "later");
    assert_eq!((made.contents.tenants, made.contents.users), (1, 0));
    assert_eq!(made.bytes, fs::metadata(&file).unwrap().len());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let conn = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    assert_eq!(contents(&conn).unwrap(), made.contents);
    let beside: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn a_file_that_is_there_is_replaced_only_where_that_is_meant() {
    let fixture = fixture();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("copy.db");
    fs::write(&file, "precious").unwrap();
    make(&fixture.store, &file, Existing::Keep).unwrap_err();
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    make(&fixture.store, &file, Existing::Replace).unwrap();
    assert!(fs::read(&file).unwrap().starts_with(b"SQLite format 3"));
}

#[test]
fn the_database_itself_is_not_replaced() {
    let fixture = fixture();
    for name in ["rollcall.db", "rollcall.db-wal"] {
        let file = fixture.dir.path().join(name);
        let error = make(&fixture.store, &file, Existing::Replace).unwrap_err();
        assert!(error.to_string().contains("the database itself"), "{error}");
    }
}

#[test]
fn a_database_with_a_dangling_row_is_no_backup_and_nothing_is_left_behind() {
    let fixture = fixture();
    let conn = Connection::open(fixture.dir.path().join("rollcall.db")).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO tally VALUES (99, 'User', 0, 1)")
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = make(&fixture.store, &dir.path().join("copy.db"), Existing::Keep);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("foreign_key_check found: tally"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_keeps_the_newest_backups_and_whatever_else_is_in_it() {
    let fixture = fixture();
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("backups");
    for seconds in [0, 1, 86_400] {
        make_in(&fixture.store, &dir, at(seconds)).unwrap();
    }
    let newest = "rollcall-20231115T221320Z.db";
    let all = [
        newest,
        "rollcall-20231114T221321Z.db",
        "rollcall-20231114T221320Z.db",
    ];
    assert_eq!(names(&dir), all);
    assert_eq!(list(&dir).unwrap()[0].at, at(86_400));
    fs::write(dir.join("rollcall-2023.db"), "").unwrap();
    fs::write(dir.join(format!(".{newest}.x{PARTIAL}")), "").unwrap();
    fs::write(dir.join(format!(".other.db.x{PARTIAL}")), "").unwrap();
    let running = Partial::beside(&dir.join(newest)).unwrap();
    assert_eq!(prune(&dir, 1, at(90_000)).unwrap(), 2);
    assert_eq!(names(&dir), [newest]);
    assert!(running.path.exists(), "somebody works on it");
    assert!(dir.join("rollcall-2023.db").exists());
    assert!(dir.join(format!(".other.db.x{PARTIAL}")).exists());
    assert!(!dir.join(format!(".{newest}.x{PARTIAL}")).exists());
}

#[test]
fn the_next_one_is_due_by_the_age_of_the_newest_and_the_future_does_not_count() {
    let fixture = fixture();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let hour = Duration::from_secs(3600);
    assert_eq!(due_in(dir, hour, at(0)).unwrap(), Duration::ZERO);
    for seconds in [0, 1_000_000, 1_000_001] {
        make_in(&fixture.store, dir, at(seconds)).unwrap();
    }
    let in_seconds = |now| due_in(dir, hour, at(now)).unwrap().as_secs();
    let due = [0, 1, 3599, 3600, 9999].map(in_seconds);
    assert_eq!(due, [3600, 3599, 1, 0, 0]);
    assert_eq!(prune(dir, 1, at(9999)).unwrap(), 0);
    assert_eq!(names(dir).len(), 3);
}

#[test]
fn a_folder_is_not_made_inside_one_that_is_missing() {
    let parent = tempfile::tempdir().unwrap();
    create_folder(&parent.path().join("disk").join("backups")).unwrap_err();
    assert!(!parent.path().join("disk").exists());
}
