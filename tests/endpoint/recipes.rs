//! The clients' settings, exactly as `ddnsctl user config` prints them and `docs/clients.md` has them,
//! with the real programs.

use crate::chain::run_on_overlay;

#[test]
fn the_settings_as_printed_work_with_the_real_clients() {
    let needs = [
        "/usr/bin/openssl",
        "/usr/sbin/update-ca-certificates",
        "/usr/bin/ddclient",
        "/usr/sbin/inadyn",
    ];
    run_on_overlay("recipes.sh", &[], &needs, "every recipe works");
}

#[test]
fn a_home_moves_with_the_prefix_that_its_router_reports() {
    run_on_overlay("home.sh", &[], &["/usr/sbin/dnsmasq"], "the home moves with its prefix");
}
