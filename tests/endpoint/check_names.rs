//! `ddnsctl check` and name servers: real ones, two of them in another network, each fault made and
//! then corrected as the finding says.

use crate::chain::run_on_overlay;

#[test]
fn each_fault_of_a_name_server_is_found_and_the_advice_corrects_it() {
    let needs = ["/usr/sbin/named", "/usr/sbin/knotd", "/usr/bin/nsupdate", "/usr/bin/dig"];
    run_on_overlay("check_names.sh", &[], &needs, "check finds every fault");
}
