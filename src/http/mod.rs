//! http
pub mod endpoint;
pub mod log;
pub mod reply;
pub mod request;
