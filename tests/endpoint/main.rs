//! The program as its users meet it: its files, a real Apache, real clients, the real dnsmasq.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod apache;
mod article;
mod boot;
mod browser;
mod caddy;
mod cases;
mod chain;
mod check_names;
mod client;
mod cost;
mod dnsmasq;
mod dyndns2;
mod expiry;
mod fail2ban;
mod fastcgi;
mod fastcgi_client;
mod fastcgi_faults;
mod fastcgi_process;
mod faults;
mod field;
mod files;
mod identifiers;
mod indexed;
mod install;
mod lighttpd;
mod load;
mod model;
mod name_servers;
mod nginx;
mod operator;
mod password;
mod php;
mod plan;
mod prefixes;
mod primary;
mod process;
mod protocol;
mod public;
mod recipes;
mod restarts;
mod scene;
mod secrets;
mod server;
mod shipped;
mod size;
mod status;
mod status_access;
mod takeover;
mod transport;
mod web;
mod web_servers;
mod writes;
mod zones;
