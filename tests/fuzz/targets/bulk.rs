//! The steps of a bulk request: each operation once, and after those that it refers to (RFC 7644 §3.7).

use std::collections::BTreeSet;

use rollcall::scim::bulk::{Action, BulkRequest, resolve};
use serde_json::json;

pub fn run(data: &[u8]) {
    let Ok(request) = BulkRequest::read(data) else {
        return;
    };
    assert_ne!(request.fail_on_errors, Some(0));
    let steps = request.steps();
    let mut done = BTreeSet::new();
    for step in &steps {
        let together: BTreeSet<usize> = step.operations.iter().copied().collect();
        assert_eq!(together.len(), step.operations.len());
        let mut is_circular = false;
        for &index in &step.operations {
            for bulk_id in &request.operations[index].references {
                let Ok(creator) = request.creator(bulk_id) else {
                    continue;
                };
                is_circular |= together.contains(&creator);
                assert!(
                    done.contains(&creator) || together.contains(&creator),
                    "{index} is done before {creator}, which it refers to"
                );
            }
        }
        assert_eq!(step.circular, is_circular);
        assert!(is_circular || together.len() == 1);
        done.extend(together);
    }
    assert_eq!(done, (0..request.operations.len()).collect());
    assert_eq!(
        steps
            .iter()
            .map(|step| step.operations.len())
            .sum::<usize>(),
        done.len()
    );
    for operation in request.operations {
        let id_of = |bulk_id: &str| Ok::<_, ()>(format!("id of {bulk_id}"));
        let none_is_left = |bulk_id: &str| Err(bulk_id.to_owned());
        let mut data = operation.body();
        resolve(&mut data, &id_of).unwrap();
        resolve(&mut data, &none_is_left).unwrap();
        if let Ok(action) = &operation.action {
            let resolved = action.clone().resolved(id_of).unwrap();
            resolved.resolved(none_is_left).unwrap();
        }
        let creates = matches!(operation.action, Ok(Action::Create(_)));
        assert!(!creates || operation.bulk_id.is_some());
        let answer = operation.answer(200, None, None, operation.action.as_ref().err());
        assert_eq!(json!(answer)["status"], "200");
    }
}
