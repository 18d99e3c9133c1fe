//! The steps of a bulk request: each operation once, and after those that it refers to (RFC 7644 §3.7).

use std::collections::BTreeSet;

use rollcall::scim::bulk::{Action, BulkRequest, resolve};
use rollcall::scim::message::parse_json;

pub fn run(data: &[u8]) {
    let Ok(body) = parse_json(data) else { return };
    let Ok(request) = BulkRequest::read(body) else {
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
            for bulk_id in request.operations[index].references() {
                let Ok(creator) = request.creator(&bulk_id) else {
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
    for mut operation in request.operations {
        let id_of = |bulk_id: &str| Ok::<_, ()>(format!("id of {bulk_id}"));
        resolve(&mut operation.data, &id_of).unwrap();
        operation.action = operation
            .action
            .map(|action| action.resolved(id_of).unwrap());
        assert_eq!(operation.references(), BTreeSet::new());
        let creates = matches!(operation.action, Ok(Action::Create(_)));
        assert!(!creates || operation.bulk_id.is_some());
        let answer = operation.answer(200, None, None, operation.action.as_ref().err());
        assert_eq!(answer["status"], "200");
    }
}
