//! The package for Fedora and Red Hat, examined and installed with Debian's rpm. `rpm.sh` runs what is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::chain::run_on_overlay;
use crate::scene::can_run;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The parts of `packaging/files` that it has.
const PARTS: [&str; 10] = [
    "programs",
    "manual",
    "ramcache",
    "ramcache-units",
    "sudo",
    "dnsmasq",
    "dnsmasq-unit",
    "apache",
    "fail2ban",
    "documents",
];

/// The scripts of the package, by the names of rpm's query.
const SCRIPTS: [(&str, &str); 3] = [
    ("POSTIN", "packaging/rpm/post"),
    ("PREUN", "packaging/rpm/preun"),
    ("POSTUN", "packaging/rpm/postun"),
];

/// Where programs are. `scripts/release` installs its own in a folder.
static PATH: LazyLock<String> = LazyLock::new(|| {
    let path = std::env::var("PATH").unwrap();
    let tools = std::env::var("DDNS_RELEASE_TOOLS");
    let tools = tools.unwrap_or_else(|_| format!("{ROOT}/target/release-tools"));
    format!("{path}:{tools}/bin")
});

/// The package, made once.
static PACKAGE: LazyLock<PathBuf> = LazyLock::new(|| make(&[]));

/// Whether all is here that makes the package, and `needs`.
fn can_make(test: &str, needs: &[&str]) -> bool {
    let tool =
        Command::new("cargo").args(["generate-rpm", "--version"]).env("PATH", &*PATH).output();
    let is_missing = !tool.is_ok_and(|output| output.status.success());
    let tool: &[&str] = if is_missing { &["cargo-generate-rpm"] } else { &[] };
    let common = [concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl"), "/usr/bin/rpm"];
    can_run(&format!("the RPM: {test}"), &[&common, tool, needs].concat())
}

/// Makes the package, in an environment with these variables.
fn make(variables: &[(&str, &str)]) -> PathBuf {
    let mut command = Command::new("sh");
    // Whoever makes it may be careful.
    command.args(["-c", "umask 077 && exec scripts/package rpm"]).current_dir(ROOT);
    run(command.env("PATH", &*PATH).envs(variables.iter().copied()));
    let version = env!("CARGO_PKG_VERSION");
    let arch = std::env::consts::ARCH;
    Path::new(ROOT).join(format!("dist/packages/ddns-cgi-{version}-1.{arch}.rpm"))
}

/// What a command prints; it must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn query(format: &str) -> String {
    run(Command::new("rpm").args(["--query", "--package", "--queryformat", format]).arg(&*PACKAGE))
}

/// Unpacks the package into a folder.
fn unpack(folder: &Path) {
    let script = "rpm2cpio \"$0\" | cpio --extract --make-directories --quiet";
    run(Command::new("sh").args(["-c", script]).arg(&*PACKAGE).current_dir(folder));
}

#[test]
fn each_file_has_the_contents_mode_owner_and_kind_of_the_list() {
    if !can_make("its files", &["/usr/bin/rpm2cpio", "/usr/bin/cpio"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpack(folder.path());
    let stage = Path::new(ROOT).join("scripts/stage");
    let list = run(Command::new(stage).args(["--list", "redhat"]).args(PARTS));
    let mut expected = Vec::new();
    for line in list.lines() {
        let [kind, mode, source, target] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let is_manual = target.starts_with("/usr/share/man/");
        let target = format!("{target}{}", if is_manual { ".gz" } else { "" });
        let flags = match kind {
            "settings" => "cn",
            _ if is_manual || target.starts_with("/usr/share/doc/") => "d",
            _ => "",
        };
        expected.push(format!("{target} 100{mode} root:root {flags}"));

        let packed = folder.path().join(target.strip_prefix('/').unwrap());
        let contents = if is_manual {
            Command::new("zcat").arg(packed).output().unwrap().stdout
        } else {
            fs::read(packed).unwrap()
        };
        assert!(contents == fs::read(Path::new(ROOT).join(source)).unwrap(), "{target}");
    }
    expected.sort();
    let format =
        "[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEFLAGS:fflags}\n]";
    let mut found: Vec<String> = query(format).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, expected);
    assert!(!found.iter().any(|file| file.contains("ddns-cgi.socket")), "it names Debian's user");
}

#[test]
fn the_programs_in_it_run() {
    if !can_make("its programs", &["/usr/bin/rpm2cpio", "/usr/bin/cpio"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    unpack(folder.path());
    let program = |path: &str| Command::new(folder.path().join(path));
    let version = run(program("usr/sbin/ddnsctl").arg("--version"));
    assert_eq!(version, format!("ddnsctl {}\n", env!("CARGO_PKG_VERSION")));
    let help = run(program("usr/sbin/ddns-ramcache").arg("--help"));
    assert!(help.starts_with("ddns-ramcache: keeps the state's folder on a RAM disk"), "{help}");
    let reply = run(program("usr/lib/ddns-cgi/ddns-cgi").env_clear().envs([
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("PATH_INFO", "/ip"),
    ]));
    assert!(reply.ends_with("\r\n\r\n192.0.2.7\n"), "{reply}");
}

#[test]
fn its_scripts_are_those_of_the_repository_and_shells_accept_them() {
    if !can_make("its scripts", &["/usr/bin/shellcheck"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (tag, source) in SCRIPTS {
        let script = query(&format!("%{{{tag}}}"));
        let original = fs::read_to_string(Path::new(ROOT).join(source)).unwrap();
        assert_eq!(script.trim_end(), original.trim_end(), "{source}");
        let copy = folder.path().join(tag);
        fs::write(&copy, script).unwrap();
        run(Command::new("sh").arg("-n").arg(&copy));
        run(Command::new("shellcheck").arg(&copy));
    }
}

#[test]
fn it_asks_for_apache_and_for_no_library() {
    if !can_make("what it needs", &[]) {
        return;
    }
    let requires = query("[%{REQUIRES}\n]");
    let mut own: Vec<&str> = requires
        .lines()
        .filter(|name| !name.starts_with("rpmlib(") && *name != "config(ddns-cgi)")
        .collect();
    own.dedup();
    assert_eq!(own, ["/bin/sh", "httpd"]);
    assert_eq!(query("[%{RECOMMENDS} ]"), "/usr/sbin/service dnsmasq sudo ");
}

#[test]
fn the_same_source_makes_the_same_bytes() {
    if !can_make("made twice", &[]) {
        return;
    }
    let first = fs::read(&*PACKAGE).unwrap();
    let time = query("%{BUILDTIME}");
    assert_eq!(query("%{BUILDHOST}"), "(none)");
    let other = [("SOURCE_DATE_EPOCH", time.as_str()), ("TZ", "Asia/Tokyo"), ("LC_ALL", "C.UTF-8")];
    let second = fs::read(make(&other)).unwrap();
    assert!(first == second, "the two differ");
}

#[test]
fn rpmlint_has_nothing_to_say() {
    if !can_make("rpmlint", &["/usr/bin/rpmlint"]) {
        return;
    }
    let settings = Path::new(ROOT).join("packaging/rpm/rpmlint.toml");
    let text = run(Command::new("rpmlint").arg("--config").arg(settings).arg(&*PACKAGE));
    assert!(text.contains("1 packages") && text.contains("0 errors, 0 warnings"), "{text}");
}

#[test]
fn rpm_installs_it_into_an_empty_root() {
    if !can_make("an empty root", &["root"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let rpm = |arguments: &[&str]| {
        let mut command = Command::new("rpm");
        run(command.arg("--root").arg(folder.path()).arg("--force-debian").args(arguments))
    };
    let package = PACKAGE.to_str().unwrap();
    rpm(&["--install", "--nodeps", "--noscripts", package]);
    assert_eq!(rpm(&["--verify", "--nodeps", "--noscripts", "ddns-cgi"]), "");
    let files = rpm(&["--query", "--configfiles", "ddns-cgi"]);
    assert!(files.contains("/etc/httpd/conf.d/ddns-cgi.conf\n"), "{files}");
    rpm(&["--erase", "--noscripts", "ddns-cgi"]);
    assert!(!folder.path().join("usr/sbin/ddnsctl").exists());
}

#[test]
fn installed_in_use_upgraded_and_removed() {
    if !can_make("in use", &["root"]) {
        return;
    }
    let needs = ["/usr/bin/dig", "/usr/bin/findmnt"];
    // The overlay has the repository in another place.
    let package = PACKAGE.strip_prefix(ROOT).unwrap();
    run_on_overlay("rpm.sh", &[package.to_str().unwrap()], &needs, "the RPM works");
}
