//! protocol
pub mod addresses;
pub mod answer;
pub mod auth;
pub mod claim;
pub mod dyndns2;
pub mod form;
pub mod host;
pub mod signature;
pub mod stamp;
pub mod user;
