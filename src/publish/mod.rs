//! publish
pub mod command;
pub mod mark;
pub mod restart;
