//! The program as its users meet it: its files, a real Apache, real clients, the real dnsmasq.

mod apache;
mod article;
mod cases;
mod chain;
mod files;
mod php;
mod restarts;
mod scene;
mod secrets;
mod shipped;
