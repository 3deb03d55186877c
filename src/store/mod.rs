//! store
pub mod credentials;
pub mod decide;
pub mod expiry;
pub mod hosts;
pub mod index;
pub mod lock;
pub mod lookup;
pub mod php_json;
pub mod record;
pub mod replace;
pub mod seal;
pub mod sealed;
pub mod state;
