//! Who sees the status page with the shipped configuration of Apache.

use std::process::Command;

use crate::apache::{APACHE, Apache, Kind, load};
use crate::scene::can_run;
use crate::status::{JSON, scene};

/// Lets `X-Client` tell Apache the client's address, as a proxy in front would.
const PROXY: &str = "LoadModule remoteip_module modules/mod_remoteip.so\n\
                     RemoteIPHeader X-Client\nRemoteIPTrustedProxy 127.0.0.0/8\n";

#[test]
fn the_shipped_configuration_shows_the_page_to_this_machine_alone() {
    for kind in Kind::all("who sees the status page", &[]) {
        let scene = scene();
        let changes = [("#ScriptAlias \"/ip\"", "ScriptAlias \"/other\"")];
        let apache = Apache::start_with(&scene, kind, PROXY, &changes);
        let status = |path: &str, options: &[&str]| apache.page("127.0.0.1", path, options).status;
        let outside = ["--header", "X-Client: 198.51.100.7"];
        let own = apache.curl("127.0.0.1", "/ip.php/ip", &outside).line;
        assert_eq!(own, "198.51.100.7", "the proxy's word counts");
        for path in [
            "/ip.php/status",
            "/other/status",
            "/ip.php//status",
            "/ip.php/%73tatus",
            "//ip.php/./status",
        ] {
            assert_eq!(status(path, &[]), 200, "{path}");
            for more in [&[][..], &["--head"], &["--header", JSON], &["--request", "POST"]] {
                assert_eq!(status(path, &[&outside, more].concat()), 403, "{path} {more:?}");
            }
        }
        for path in ["/ip.php/STATUS", "/ip.php/status/", "/ip.php/x/status", "/ip.php?/status"] {
            assert_eq!(
                apache.curl("127.0.0.1", path, &outside).line,
                "badrequest missing user",
                "{path}"
            );
        }
    }
}

#[test]
fn the_shipped_configuration_can_ask_others_for_a_password() {
    const HTPASSWD: &str = "/usr/bin/htpasswd";
    if !can_run("a password for the status page", &[APACHE, HTPASSWD]) {
        return;
    }
    let scene = scene();
    let lines = load(&["auth_basic", "authn_core", "authn_file", "authz_user"]) + PROXY;
    let changes = [
        ("#AuthType", "AuthType"),
        ("#AuthName", "AuthName"),
        ("#AuthUserFile", "AuthUserFile"),
        ("#Require valid-user", "Require valid-user"),
    ];
    let file = scene.path("etc/status.htpasswd");
    let made = Command::new(HTPASSWD).arg("-bc").arg(&file).args(["alice", "word"]).output();
    assert!(made.unwrap().status.success());
    let apache = Apache::start_with(&scene, Kind::EventCgid, &lines, &changes);
    let status = |options: &[&str]| {
        let outside = ["--header", "X-Client: 198.51.100.7"];
        apache.page("127.0.0.1", "/ip.php/status", &[&outside, options].concat()).status
    };
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&["--user", "alice:wrong"]), 401);
    assert_eq!(status(&["--user", "alice:word"]), 200);
    assert_eq!(apache.page("127.0.0.1", "/ip.php/status", &[]).status, 200, "here, without one");
}
