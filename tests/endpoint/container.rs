//! The container of `docs/container.md`: built from source and run by podman. See `container.sh`.

use crate::chain::run_in_namespaces;
use crate::scene::can_run;

#[test]
fn the_container_is_built_and_serves_as_the_page_says() {
    let needs = [
        "root",
        "/usr/sbin/debootstrap",
        "/usr/bin/podman",
        "/usr/bin/crun",
        "/usr/sbin/named",
        "/usr/bin/dig",
        "/usr/bin/curl",
        "/usr/sbin/ip",
    ];
    if !can_run("the container", &needs) {
        return;
    }
    let namespaces = ["--mount", "--pid", "--ipc"];
    run_in_namespaces(&namespaces, "container.sh", &[], "the container works");
}
