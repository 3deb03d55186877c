//! The files that are installed unchanged, and the shipped program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::scene::can_run;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn run(program: &str, arguments: &[&str], file: &Path) -> Output {
    Command::new(program).args(arguments).arg(file).output().unwrap()
}

#[test]
fn the_sudoers_file_is_valid_and_names_both_users_and_both_paths() {
    if !can_run("sudoers.d", &["/usr/sbin/visudo"]) {
        return;
    }
    let shipped = file("sudoers.d/ddns-cgi");
    let text = std::fs::read_to_string(&shipped).unwrap();
    let output = run("/usr/sbin/visudo", &["-cf"], &shipped);
    assert!(output.status.success(), "{output:?}");
    for part in [
        "www-data ALL",
        "apache   ALL",
        "/usr/sbin/service dnsmasq restart,",
        " /sbin/service dnsmasq restart",
    ] {
        assert!(text.contains(part), "{part}");
    }
    // sudo skips files with a dot or a final tilde in their names.
    assert!(!shipped.file_name().unwrap().to_str().unwrap().contains(['.', '~']));

    // The line for distributions that require a terminal is valid once its # is removed.
    let folder = tempfile::tempdir().unwrap();
    let enabled = folder.path().join("sudoers");
    assert!(text.contains("\n#Defaults:apache !requiretty"));
    std::fs::write(&enabled, text.replace("\n#Defaults", "\nDefaults")).unwrap();
    assert!(run("/usr/sbin/visudo", &["-cf"], &enabled).status.success());
    // So are those for a reload, with either command.
    for other in ["pkill", "systemctl"] {
        let lines =
            text.lines().filter(|line| !(line.starts_with("#Cmnd") && line.contains(other)));
        let lines: Vec<&str> = lines
            .map(|line| match line.strip_prefix('#') {
                Some(rule) if !rule.starts_with(' ') && line.contains("RELOAD") => rule,
                _ => line,
            })
            .collect();
        std::fs::write(&enabled, lines.join("\n") + "\n").unwrap();
        let output = run("/usr/sbin/visudo", &["-cf"], &enabled);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("Cmnd_Alias")).count(), 2);
    }
    std::fs::write(&enabled, text.replace("NOPASSWD:", "NOPASSWD")).unwrap();
    assert!(!run("/usr/sbin/visudo", &["-cf"], &enabled).status.success(), "visudo can tell");
}

#[test]
fn the_dnsmasq_files_are_valid_and_set_the_hosts_file_and_the_time_to_live() {
    if !can_run("dnsmasq.d", &["/usr/sbin/dnsmasq"]) {
        return;
    }
    for (name, line) in [
        ("dnsmasq.d/ddns-cgi.conf", "\naddn-hosts=/media/data/www/ramcache/hosts.dns\n"),
        ("dnsmasq.d/ddns-cgi-ttl.conf", "\nlocal-ttl=7\n"),
    ] {
        let shipped = file(name);
        let output = run("/usr/sbin/dnsmasq", &["--test", "-C"], &shipped);
        assert!(output.status.success(), "{output:?}");
        assert!(std::fs::read_to_string(shipped).unwrap().contains(line), "{name}");
    }
}

#[test]
fn the_shipped_program_needs_no_dynamic_loader_and_is_put_at_random_addresses() {
    let program = file("dist/ddns-cgi");
    if !can_run("static linking (scripts/build)", &[program.to_str().unwrap(), "/usr/bin/file"]) {
        return;
    }
    let kind = String::from_utf8(run("file", &["--brief"], &program).stdout).unwrap();
    // On other machines, Rust's static programs cannot be put at random addresses.
    let wanted =
        if cfg!(target_arch = "x86_64") { "static-pie linked" } else { "statically linked" };
    assert!(kind.contains(wanted), "{kind}");
    let libraries = run("ldd", &[], &program);
    let text = String::from_utf8([libraries.stdout, libraries.stderr].concat()).unwrap();
    assert!(
        text.contains("statically linked") || text.contains("not a dynamic executable"),
        "{text}"
    );
}
