//! The settings in `docs/name-servers.md`, exactly as printed, with the real name servers: a primary
//! beside Apache, a secondary and a stranger in network namespaces of their own.

use crate::chain::run_on_overlay;

fn run(primary: &str, secondary: &str, servers: &[&str]) {
    let tools = [
        "/usr/bin/nsupdate",
        "/usr/bin/knsupdate",
        "/usr/bin/delv",
        "/usr/bin/dig",
        "/usr/bin/dnssec-dsfromkey",
        "/usr/bin/nsenter",
        "/usr/bin/openssl",
    ];
    let needs = [&tools, servers].concat();
    run_on_overlay("name_servers.sh", &[primary, secondary], &needs, "both servers follow");
}

#[test]
fn knot_with_a_knot_secondary() {
    run("Knot", "Knot", &["/usr/sbin/knotd"]);
}

#[test]
fn bind_with_an_nsd_secondary() {
    run("BIND", "NSD", &["/usr/sbin/named", "/usr/sbin/nsd"]);
}

#[test]
fn powerdns_with_a_knot_secondary() {
    let servers = [
        "/usr/sbin/pdns_server",
        "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql",
        "/usr/bin/sqlite3",
        "/usr/sbin/knotd",
    ];
    run("PowerDNS", "Knot", &servers);
}

#[test]
fn unbound_with_the_hosts_file() {
    let needs = ["/usr/sbin/unbound", "/usr/bin/dig"];
    run_on_overlay("unbound.sh", &[], &needs, "unbound follows");
}
