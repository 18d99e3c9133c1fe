//! The door to the network: the only place that knows sockets, headers and status lines.

mod chunked;
mod connection;
mod head;
pub mod limits;
pub mod listen;
mod register;
mod render;
pub mod request;
