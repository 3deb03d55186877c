//! `docs/public.md` as printed: what strangers get from the real dnsmasq, and what `ddnsctl check` says
//! about it.

use crate::chain::run_on_overlay;

#[test]
fn strangers_get_the_zone_and_nothing_else() {
    run_on_overlay(
        "public.sh",
        &[],
        &["/usr/bin/dig", "/usr/sbin/named", "/usr/bin/busybox"],
        "strangers get the zone and nothing else",
    );
}
