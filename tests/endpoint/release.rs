//! What `scripts/release` has made: it installs without Rust, says what is in it, and also works on
//! another processor.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::scene::{can_run, tell};

const PROCESSORS: [&str; 2] = ["x86_64", "aarch64"];
const PYTHON: &str = "/usr/bin/python3";
const QEMU: &str = "/usr/bin/qemu-aarch64";
const READELF: &str = "/usr/bin/readelf";

/// The README's promise, in bytes. What Rust 1.95 makes has 989,384, what 1.99 makes has 1,026,472.
const LARGEST: u64 = 1_049_999;

/// cargo-auditable counts this one, too: only a crate for tests has it used.
const NOT_LINKED: &str = "errno ";

/// The tests that run with another processor's programs: of requests, files, the restarter, FastCGI and
/// ddnsctl.
const TESTS: [&str; 6] = [
    "cases::every_case_in_the_bare_environment",
    "cases::every_case_through_fastcgi_without_a_web_server",
    "files::",
    "indexed::",
    "operator::",
    "restarts::",
];

/// Without this one: qemu needs threads of its own where the program can have none.
const NOT: &str = "restarts::where_no_process_can_be_started";

/// A file of the release of this version.
fn file(end: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/release/ddns-cgi-");
    format!("{folder}{}{end}", env!("CARGO_PKG_VERSION"))
}

/// What a command prints; it must succeed.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [text, errors] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(status.success(), "{command:?}: {text}{errors}");
    text + &errors
}

/// A processor's tarball, unpacked, and the folder in there.
fn unpack(processor: &str) -> Option<(TempDir, PathBuf)> {
    let tarball = file(&format!("-{processor}-linux.tar.gz"));
    if !can_run(&format!("the release for {processor} (scripts/release)"), &[&tarball]) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    run(Command::new("tar").args(["-xzf", &tarball, "-C"]).arg(folder.path()));
    let inner = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    Some((folder, inner))
}

/// The names of all files below a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    run(Command::new("find").current_dir(folder).args([".", "!", "-type", "d"]))
        .lines()
        .map(str::to_owned)
        .collect()
}

/// `NAME VERSION` of the crates in a list.
fn crates(list: &Value) -> BTreeSet<String> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| text(entry, "name") + " " + &text(entry, "version")).collect()
}

/// The list of crates that a program has in a section of its own.
fn list_in(program: &Path) -> Value {
    let sections = run(Command::new(READELF).args(["--wide", "--section-headers"]).arg(program));
    let line = sections.lines().find_map(|line| line.split_once(".dep-v0 ")).unwrap().1;
    // Type, address, place, size, size of entries, then flags if there are any, and three numbers.
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((fields.len(), fields[1]), (8, "0000000000000000"), "it is not loaded: {line}");
    let [place, size] = [2, 3].map(|n| usize::from_str_radix(fields[n], 16).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let section = folder.path().join("section");
    fs::write(&section, &fs::read(program).unwrap()[place..place + size]).unwrap();
    let script =
        "import sys, zlib; print(zlib.decompress(open(sys.argv[1], 'rb').read()).decode())";
    let text = run(Command::new(PYTHON).args(["-c", script]).arg(section));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_programs_are_small_and_name_the_crates_in_them_as_the_bill_of_materials_does() {
    if !can_run("the lists of crates in a release", &[PYTHON, READELF]) {
        return;
    }
    for processor in PROCESSORS {
        let Some((_folder, release)) = unpack(processor) else { continue };
        let bill = fs::read(file(&format!("-{processor}.cdx.json"))).unwrap();
        let bill: Value = serde_json::from_slice(&bill).unwrap();
        let listed = crates(&bill["components"]);
        assert!(bill["serialNumber"].is_null(), "a random number");
        for entry in bill["components"].as_array().unwrap() {
            assert_eq!(entry["hashes"][0]["alg"], "SHA-256", "{entry}");
            assert!(entry["licenses"][0]["expression"].is_string(), "{entry}");
        }
        for program in ["ddns-cgi", "ddnsctl"] {
            let path = release.join("dist").join(program);
            let mut list = list_in(&path)["packages"].take();
            let is_inside = |entry: &Value| entry["kind"] != "build" && entry["root"] != true;
            list.as_array_mut().unwrap().retain(is_inside);
            let mut inside = crates(&list);
            inside.retain(|name| !name.starts_with(NOT_LINKED));
            assert_eq!(inside, listed, "{processor}: {program}");
            let size = fs::metadata(&path).unwrap().len();
            tell(&format!("measured: release: {program} for {processor}: {size} bytes"));
            assert!(size < LARGEST || program == "ddnsctl", "{size} bytes");
        }
    }
}

#[test]
fn a_release_installs_what_a_clone_installs_and_needs_no_rust() {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ddnsctl");
    if !can_run("the installation of a release (scripts/build)", &[dist]) {
        return;
    }
    let Some((_folder, release)) = unpack(std::env::consts::ARCH) else { return };
    let install = |source: &Path, server: &str| {
        let folder = tempfile::tempdir().unwrap();
        let text = run(Command::new(source.join("scripts/install"))
            .args(["--quiet", "--system", "debian", "--server", server])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DESTDIR", folder.path()));
        assert_eq!(text, "", "{server}");
        names(folder.path())
    };
    for server in ["apache", "apache-fastcgi", "nginx", "lighttpd", "caddy"] {
        let installed = install(&release, server);
        assert_eq!(installed, install(Path::new(env!("CARGO_MANIFEST_DIR")), server), "{server}");
        assert!(installed.contains("./usr/sbin/ddnsctl"));
    }
}

#[test]
fn the_programs_for_aarch64_do_what_those_for_this_machine_do() {
    // binfmt_misc in a namespace of the user's own came with the kernel 6.7.
    if !can_run("the programs for aarch64", &["root", QEMU]) {
        return;
    }
    let Some((_folder, release)) = unpack("aarch64") else { return };
    let program = release.join("dist/ddns-cgi");
    let machine = fs::read(&program).unwrap()[18];
    assert_eq!(machine, 0xb7, "it is for aarch64 (elf(5), e_machine)");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/endpoint/aarch64.sh");
    let text = run(Command::new(script)
        .arg(std::env::current_exe().unwrap())
        .args(TESTS)
        .args(["--skip", NOT])
        .env("DDNS_CGI", program)
        .env_remove("DDNS_TEST_ALL"));
    let result = text.lines().find_map(|line| line.strip_prefix("test result: ok. ")).unwrap();
    let passed = result.split(' ').next().unwrap();
    tell(&format!("measured: release: {passed} tests pass with the programs for aarch64, in qemu"));
    assert!(passed.parse::<u32>().unwrap() > 50, "{text}");
}
