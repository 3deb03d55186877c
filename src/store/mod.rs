//! store
pub mod change;
pub mod credentials;
pub mod decide;
pub mod expiry;
pub mod hosts;
pub mod index;
pub mod json;
pub mod lock;
pub mod record;
pub mod replace;
pub mod state;
pub mod validity;
