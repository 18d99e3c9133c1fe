//! A path prints as itself, and means the same in any case (RFC 7644 §3.5.2, §3.10).

use rollcall::scim::path::{AttrPath, PatchPath};

use super::resource_types;

/// Longest path that is read, in characters.
const LONGEST: usize = 10_000;

pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(path) = AttrPath::parse(text) {
        assert_eq!(path.to_string(), text);
        let lower = path.lower_case();
        assert_eq!(lower.lower_case(), lower);
        assert_eq!(
            AttrPath::parse(&text.to_ascii_lowercase()),
            Ok(lower.clone())
        );
        for resource_type in resource_types() {
            let found = resource_type.resolve(&path);
            assert_eq!(found, resource_type.resolve(&lower), "{text}");
            // What a schema knows isn't somebody else's.
            assert!(
                found.is_none() || !resource_type.is_foreign(&path),
                "{text}"
            );
        }
    }
    for resource_type in resource_types() {
        let Ok(path) = PatchPath::parse(text, resource_type) else {
            continue;
        };
        let printed = path.to_string();
        match PatchPath::parse(&printed, resource_type) {
            Ok(read) => assert_eq!(read, path, "{printed}"),
            Err(error) => assert!(printed.chars().count() > LONGEST, "{printed}: {error}"),
        }
    }
}
