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
mod check;
mod check_names;
mod client;
mod client_fetch;
mod client_memory;
mod completion;
mod container;
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
mod findings;
mod identifiers;
mod indexed;
mod install;
mod lifecycle;
mod lighttpd;
mod load;
mod model;
mod name_servers;
mod nginx;
mod operator;
mod package;
mod password;
mod php;
mod plan;
mod prefixes;
mod primary;
mod process;
mod protocol;
mod public;
mod ramcache;
mod recipes;
mod release;
mod restarts;
mod rpm;
mod scene;
mod secrets;
mod server;
mod settings;
mod shipped;
mod size;
mod status;
mod status_access;
mod takeover;
mod transcripts;
mod transport;
mod version_0_1;
mod web;
mod web_servers;
mod writes;
mod zones;
