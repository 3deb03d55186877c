//! The completion of commands, users and hosts, in the shells themselves.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::scene::{Scene, can_run};

const SCRIPT: &str = "/usr/bin/script";

/// A scene with the files that `scripts/build` makes, and `ddnsctl` where shells find it.
struct Shells {
    scene: Scene,
    path: String,
}

impl Shells {
    fn new() -> Self {
        let scene = Scene::new();
        scene.does(&["generate", scene.path("run").to_str().unwrap()]);
        let command = scene.ddnsctl_command(&[]);
        let folder = Path::new(command.get_program()).parent().unwrap().display().to_string();
        Self { scene, path: format!("{folder}:/usr/sbin:/usr/bin:/sbin:/bin") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scene.path("run/completions").join(name)
    }

    /// What a program prints that reads `input`.
    fn run(&self, words: &[&str], input: &str) -> String {
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .env("PATH", &self.path)
            .env("DDNS_CONFIG", self.scene.path("etc/config.json"))
            .env("HOME", self.scene.path("run"))
            .env("TERM", "xterm")
            .env("PS1", "> ")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    /// What a shell on a terminal prints when somebody types this, and `exit`.
    fn type_into(&self, shell: &str, keys: &str) -> String {
        self.run(&[SCRIPT, "-qec", shell, "/dev/null"], &format!("{keys}exit\n"))
    }
}

#[test]
fn bash_completes_hosts_users_and_clients_at_a_tab() {
    if !can_run("completion in bash", &["/usr/bin/bash", SCRIPT]) {
        return;
    }
    let shells = Shells::new();
    let start = shells.scene.path("run/start");
    std::fs::write(&start, format!(". {}\n", shells.file("ddnsctl.bash").display())).unwrap();
    let shell = format!("bash --noprofile --rcfile {} -i", start.display());
    let text = shells.type_into(&shell, "ddnsctl sign host3\t\n");
    assert!(text.contains("?user=user2&id=host3.h.lohray.com&timeST="), "{text}");

    // The same words, without a terminal.
    let complete = |words: &str| {
        let script = format!(
            ". {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9; \
             _clap_complete_ddnsctl ddnsctl \"${{COMP_WORDS[COMP_CWORD]}}\"; \
             echo \"${{COMPREPLY[*]}}\"",
            shells.file("ddnsctl.bash").display()
        );
        shells.run(&["/usr/bin/bash", "-c", &script], "").trim().to_owned()
    };
    let hosts = "host1.h.lohray.com host2.h.lohray.com host3.h.lohray.com";
    for (words, expected) in [
        ("ddnsctl sign h", hosts),
        ("ddnsctl host remove user1 host2", "host2.h.lohray.com"),
        ("ddnsctl user rekey u", "user1 user2"),
        ("ddnsctl user config user1 --for in", "inadyn"),
        ("ddnsctl user config user1 --host host1", "host1.h.lohray.com"),
        ("ddnsctl user con", "config"),
        ("ddnsctl sign --cu", "--curl"),
        // Nobody can say which name will be new.
        ("ddnsctl user add u", ""),
    ] {
        assert_eq!(complete(words), expected, "{words}");
    }

    // A host that only the state has, such as one to forget.
    shells.scene.write("etc/credentials.json", "{}");
    assert_eq!(complete("ddnsctl forget h"), hosts);
    // The configuration on the same line counts.
    let other = shells.scene.path("run/other.json");
    let file = shells.scene.path("run/users.json").display().to_string();
    std::fs::write(&other, format!(r#"{{"credentials": "{file}"}}"#)).unwrap();
    std::fs::write(&file, r#"{"erin": {"id": ["e.example.net"], "key": "k"}, "a b": {}}"#).unwrap();
    let other = other.display();
    assert_eq!(complete(&format!("ddnsctl --config {other} user remove e")), "erin");
    assert_eq!(complete(&format!("ddnsctl --config={other} sign e")), "e.example.net");
    // What cannot be read has no names, and says nothing.
    std::fs::write(&file, "{").unwrap();
    assert_eq!(complete(&format!("ddnsctl --config {other} user remove e")), "");
    assert_eq!(complete("ddnsctl --config /nowhere user remove u"), "");
}

#[test]
fn zsh_completes_hosts_at_the_first_tab() {
    if !can_run("completion in zsh", &["/usr/bin/zsh", SCRIPT]) {
        return;
    }
    let shells = Shells::new();
    let folder = shells.scene.path("run/completions");
    let start = format!(
        "fpath=({} $fpath)\nautoload -Uz compinit\ncompinit -u -D\nPS1='> '\n",
        folder.display()
    );
    shells.scene.write("run/.zshrc", &start);
    let text = shells.type_into("zsh -i", "ddnsctl sign host3\t\n");
    assert!(text.contains("?user=user2&id=host3.h.lohray.com&timeST="), "{text}");
}

#[test]
fn fish_completes_hosts_and_users() {
    if !can_run("completion in fish", &["/usr/bin/fish"]) {
        return;
    }
    let shells = Shells::new();
    let file = shells.file("ddnsctl.fish").display().to_string();
    let complete = |words: &str| {
        let script = format!("source {file}; complete --do-complete '{words}'");
        shells.run(&["/usr/bin/fish", "--no-config", "-c", &script], "")
    };
    assert_eq!(complete("ddnsctl sign host3"), "host3.h.lohray.com\n");
    assert_eq!(complete("ddnsctl user rekey u"), "user1\nuser2\n");
}
