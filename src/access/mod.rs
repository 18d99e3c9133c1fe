//! Who may do what in the product, as pure decisions: facts and rules go in, a decision with its reasons comes out.

pub mod brake;
pub mod roles;
