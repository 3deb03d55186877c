//! `scripts/ramcache`, in folders of its own. `boot.rs` has it at boot and at shutdown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::scene::{HOSTS, STATE, Scene, can_run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ramcache");

/// A scene whose folder of the state has copies.
struct RamCache {
    scene: Scene,
}

impl RamCache {
    fn new() -> Self {
        let ram = Self { scene: Scene::new() };
        ram.configure("");
        ram
    }

    /// Writes the settings: the scene's folders, and these lines.
    fn configure(&self, lines: &str) {
        let path = |name| self.scene.path(name).display().to_string();
        let (folder, copies) = (path("www/ramcache"), path("copies"));
        self.scene
            .write("etc/ramcache.conf", &format!("folder={folder}\ncopies={copies}\n{lines}"));
    }

    fn command(&self, before: &[&str], arguments: &[&str]) -> Command {
        let words = [before, &["sh", SCRIPT], arguments].concat();
        let ddnsctl = self.scene.ddnsctl_command(&[]);
        let folder = Path::new(ddnsctl.get_program()).parent().unwrap().display().to_string();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env("RAMCACHE_CONFIG", self.scene.path("etc/ramcache.conf"))
            .env("PATH", format!("{folder}:/usr/bin:/bin"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(&[], arguments).output().unwrap()
    }

    /// The one line in which a command says what it did.
    fn does(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.lines().count() <= 1, "{arguments:?}: {text}");
        text
    }

    /// The one line that says why a command fails.
    fn fails(&self, status: i32, arguments: &[&str]) -> String {
        refusal(&self.run(arguments), status)
    }

    /// Exit status and text of a shell script that may mount, in a namespace that ends with it.
    fn inside(&self, script: &str) -> (i32, String) {
        let folder = self.scene.path("www/ramcache").display().to_string();
        let script = script.replace("RAMCACHE", &format!("sh {SCRIPT}")).replace("FOLDER", &folder);
        let mut command = self.command(&["unshare", "--mount", "sh", "-c", &script], &[]);
        command.env("DDNS_CONFIG", self.scene.path("etc/config.json"));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    /// What status says from its second line on.
    fn status(&self) -> String {
        let text = String::from_utf8(self.run(&["status"]).stdout).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    }

    fn copies(&self) -> Vec<String> {
        let entries = fs::read_dir(self.scene.path("copies")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut copies: Vec<String> = names.filter(|name| name.starts_with("copy-")).collect();
        copies.sort_unstable();
        copies
    }
}

fn refusal(output: &Output, status: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!((output.status.code(), text.lines().count()), (Some(status), 1), "{text}");
    assert!(text.starts_with("ddns-ramcache: "), "{text}");
    text
}

#[test]
fn save_and_restore_say_what_they_did_and_quietly_do_the_same() {
    let ram = RamCache::new();
    let scene = &ram.scene;
    assert_eq!(ram.does(&["save"]), "saved copy-0000000001\n");
    assert_eq!(ram.does(&["save"]), "copy-0000000001 has this state already\n");
    for round in 0..4 {
        scene.write(
            "www/ramcache/ip.txt",
            &STATE.replace("129.118.243.10", &format!("192.0.2.{round}")),
        );
        let quiet = [&["save", "--quiet"], &["-q", "save"]][round % 2];
        assert_eq!(ram.does(quiet), "");
    }
    assert_eq!(ram.copies(), ["copy-0000000003", "copy-0000000004", "copy-0000000005"]);

    let folder = scene.path("www/ramcache").display().to_string();
    let stays = format!(
        "{folder} has a state already, which stays; ddns-ramcache restore --force replaces it\n"
    );
    scene.write("www/ramcache/ip.txt", STATE);
    assert_eq!(ram.does(&["restore"]), stays);
    assert_eq!(scene.state(), STATE);
    assert_eq!(ram.does(&["--force", "restore"]), "restored copy-0000000005\n");
    assert!(scene.state().contains("192.0.2.3") && scene.hosts() == HOSTS);
    fs::remove_file(scene.path("www/ramcache/ip.txt")).unwrap();
    assert_eq!(ram.does(&["restore"]), "restored copy-0000000005\n");
    scene.write("www/ramcache/ip.txt", STATE);
    assert_eq!(ram.does(&["-q", "restore", "--force"]), "");
    assert!(scene.state().contains("192.0.2.3"));

    // A damaged state is never saved, and a damaged copy never restored.
    scene.write("www/ramcache/ip.txt", "{");
    assert!(ram.fails(1, &["save"]).contains("ip.txt is broken, so it was not copied; "));
    scene.write("copies/copy-0000000005/ip.txt", "{");
    assert_eq!(ram.does(&["restore", "--force"]), "restored copy-0000000004\n");
    let output = ram.run(&["status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], [format!("no RAM disk on {folder}"), "state: undamaged".to_owned()]);
    assert!(lines[3].ends_with(", undamaged") && lines[4].ends_with(", broken"), "{text}");
    for copy in ram.copies() {
        scene.write(&format!("copies/{copy}/ip.txt"), "{");
    }
    assert!(ram.fails(1, &["restore", "--force"]).contains("no good copy in"));
}

#[test]
fn a_new_system_has_nothing_to_save_or_restore() {
    let ram = RamCache::new();
    for file in ["ip.txt", "hosts.dns"] {
        fs::remove_file(ram.scene.path("www/ramcache").join(file)).unwrap();
    }
    assert_eq!(ram.does(&["save"]), "no hosts yet, so there is nothing to save\n");
    assert_eq!(ram.does(&["restore"]), "no copy yet: starting without hosts\n");
    assert_eq!(ram.does(&["restore", "-q"]), "");
    let output = ram.run(&["status"]);
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("\nstate: no hosts yet\n"));
    fs::remove_dir_all(ram.scene.path("www/ramcache")).unwrap();
    for command in ["save", "restore"] {
        assert!(ram.fails(1, &[command]).contains("is missing: run ddns-ramcache mount"));
    }
}

#[test]
fn a_wrong_command_line_or_setting_is_refused_in_one_line() {
    let ram = RamCache::new();
    for (arguments, problem) in [
        (&[][..], "a command is missing"),
        (&["--quiet"], "a command is missing"),
        (&["safe"], "there is no command safe"),
        (&["save", "restore"], "one command at a time, not save and restore"),
        (&["--verbose", "save"], "there is no option --verbose"),
        (&["save", "--force"], "--force belongs to restore"),
        (&["--force"], "--force belongs to restore"),
        (&["--force", "status"], "--force belongs to restore"),
    ] {
        let text = ram.fails(2, arguments);
        let problem = if arguments == ["--force"] { "a command is missing" } else { problem };
        assert!(
            text.contains(&format!("ddns-ramcache: {problem}; usage: ")),
            "{arguments:?}: {text}"
        );
    }
    for help in ["-h", "--help"] {
        let output = ram.run(&["save", help]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("ddns-ramcache restore "), "{text}");
        assert!(text.ends_with("each on its line\n"), "{text}");
    }
    assert!(!ram.scene.path("copies").exists());

    for (line, problem) in [
        ("sise=8m", "line 3 is not a setting: sise=8m"),
        ("# fine\n\nx", "line 5 is not a setting: x"),
        ("state=", "line 3 is not a setting: state="),
        ("folder=tmp", "line 3: folder must be an absolute path"),
        ("copies=", "line 3: copies must be an absolute path"),
        ("keep=0", "keep must be a number, at least 1"),
        ("keep=3x", "keep must be a number, at least 1"),
        ("size=big", "size must be a number of bytes, such as 8m"),
        ("size=", "size must be a number of bytes, such as 8m"),
        ("hosts=../x", "state and hosts must be names of files in"),
    ] {
        ram.configure(line);
        for command in ["mount", "restore", "save", "status"] {
            let text = ram.fails(1, &[command]);
            assert!(text.contains("/etc/ramcache.conf: ") && text.contains(problem), "{text}");
        }
    }
    fs::remove_file(ram.scene.path("etc/ramcache.conf")).unwrap();
    assert!(ram.fails(1, &["save"]).contains("ramcache.conf: cannot be read"));
    fs::create_dir(ram.scene.path("etc/ramcache.conf")).unwrap();
    assert!(ram.fails(1, &["save"]).contains("ramcache.conf: cannot be read"));
    fs::remove_dir(ram.scene.path("etc/ramcache.conf")).unwrap();
    ram.configure("");
    let output = ram.command(&[], &["save"]).env("PATH", "/usr/bin:/bin").output().unwrap();
    if !Path::new("/usr/sbin/ddnsctl").exists() {
        assert!(refusal(&output, 1).contains("ddnsctl is missing"));
    }
}

#[test]
fn somebody_else_is_told_to_be_root() {
    if !can_run("ddns-ramcache as a user", &["root", "/usr/bin/setpriv"]) {
        return;
    }
    let ram = RamCache::new();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    // The folder of the tests is only root's.
    fs::set_permissions(ram.scene.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    for command in ["mount", "restore", "save"] {
        let output = ram.command(&nobody, &[command]).output().unwrap();
        assert!(refusal(&output, 1).ends_with(": run it as root\n"), "{output:?}");
    }
    // The web server's user may write to its folder, but not make that of the copies.
    let owner = ["setpriv", "--reuid=33", "--regid=33", "--clear-groups"];
    let output = ram.command(&owner, &["save"]).output().unwrap();
    assert!(refusal(&output, 1).contains("you have no access to"), "{output:?}");
    // root saves as the folder's owner, as quietly as it was told to.
    assert_eq!(ram.does(&["save"]), "saved copy-0000000001\n");
    assert_eq!(ram.does(&["save", "--quiet"]), "");
    let output = ram.command(&owner, &["save"]).output().unwrap();
    assert_eq!(output.stderr, b"copy-0000000001 has this state already\n");
}

#[test]
fn a_state_without_hosts_is_copied_and_comes_back_as_it_is() {
    let ram = RamCache::new();
    let scene = &ram.scene;
    assert_eq!(ram.does(&["save"]), "saved copy-0000000001\n");
    for (number, (state, hosts)) in
        [("{}", ""), ("[]", ""), ("{ }\n", "# none\n")].into_iter().enumerate()
    {
        scene.reset(state, hosts);
        let copy = format!("copy-000000000{}", number + 2);
        assert_eq!(ram.does(&["save"]), format!("saved {copy}\n"));
        assert_eq!(ram.does(&["save"]), format!("{copy} has this state already\n"));
        assert!(ram.status().starts_with("state: undamaged, without hosts\n"), "{state}");
        scene.reset(STATE, HOSTS);
        assert_eq!(ram.does(&["restore", "--force"]), format!("restored {copy}\n"));
        assert_eq!((scene.state().as_str(), scene.hosts().as_str()), (state, hosts));
        // It is a state: an older copy does not replace it.
        assert!(ram.does(&["restore"]).contains(" has a state already, which stays"));
    }
    // A new system's, too.
    let ram = RamCache::new();
    ram.scene.reset("{}", "");
    assert_eq!(ram.does(&["save"]), "saved copy-0000000001\n");
}

#[test]
fn a_lost_or_broken_state_is_named_and_never_copied() {
    let ram = RamCache::new();
    let scene = &ram.scene;
    let put = |name: &str, text: Option<&str>| match text {
        Some(text) => scene.write(&format!("www/ramcache/{name}"), text),
        None => fs::remove_file(scene.path("www/ramcache").join(name)).unwrap(),
    };
    scene.write("www/ramcache/ip.txt", "{");
    assert!(
        ram.fails(1, &["save"])
            .ends_with("is broken, so it was not copied; there is no copy yet\n")
    );
    scene.reset(STATE, HOSTS);
    assert_eq!(ram.does(&["save"]), "saved copy-0000000001\n");
    let helps = "the last good copy stays, and ddns-ramcache restore --force brings it back\n";
    for (state, hosts, verdict) in [
        (None, Some(""), "missing"),
        (None, None, "missing"),
        (Some(""), Some(""), "empty"),
        (Some(" \n"), Some(""), "empty"),
        (Some("\0\0"), Some(""), "broken"),
        (Some("{"), Some(""), "broken"),
        (Some("[{}]"), Some(""), "broken"),
        // ddns-cgi takes such a state for lost.
        (Some("{}"), Some(HOSTS), "without hosts, though hosts.dns has some"),
        (Some("[]"), Some(HOSTS), "without hosts, though hosts.dns has some"),
    ] {
        put("ip.txt", state);
        put("hosts.dns", hosts);
        let text = ram.fails(1, &["save"]);
        assert!(text.contains(&format!("/ip.txt is {verdict}, so ")), "{state:?}: {text}");
        assert!(text.ends_with(helps), "{text}");
        assert!(ram.status().starts_with(&format!("state: {verdict}\n")), "{state:?}");
        assert_eq!(ram.copies(), ["copy-0000000001"]);
        assert_eq!(ram.does(&["restore", "--force"]), "restored copy-0000000001\n");
        assert_eq!((scene.state(), scene.hosts()), (STATE.to_owned(), HOSTS.to_owned()));
    }
    put("hosts.dns", None);
    assert!(ram.fails(1, &["save"]).contains("/hosts.dns is missing, so nothing was copied; run "));
    scene.notes(&["apply"]);
    assert_eq!(ram.does(&["save"]), "copy-0000000001 has this state already\n");
    // What an older copy has comes back, if a copy is lost or broken.
    scene.reset("{}", "");
    ram.does(&["save"]);
    for (state, hosts) in [("", ""), ("{}", HOSTS), ("{", "")] {
        scene.write("copies/copy-0000000002/ip.txt", state);
        scene.write("copies/copy-0000000002/hosts.dns", hosts);
        assert_eq!(ram.does(&["restore", "--force"]), "restored copy-0000000001\n", "{state}");
    }
}

#[test]
fn hosts_that_were_removed_stay_removed_after_a_power_cut() {
    if !can_run("ddns-ramcache with a RAM disk", &["root", "/usr/bin/unshare"]) {
        return;
    }
    let ram = RamCache::new();
    // An unmounted RAM disk is as empty as after a power cut.
    let reboot = "umount FOLDER && RAMCACHE -q mount && RAMCACHE -q restore";
    let remove = "ddnsctl -q user remove user1 --hosts && ddnsctl -q user remove user2 --hosts";
    let (status, text) = ram.inside(&format!(
        "RAMCACHE -q mount && RAMCACHE -q restore && {remove} && RAMCACHE -q save && {reboot} &&
        cat FOLDER/ip.txt FOLDER/hosts.dns && ddnsctl list --json"
    ));
    assert_eq!((status, text.as_str()), (0, "{}[]\n"));
    // Nor does what a half restored RAM disk has replace the last good copy.
    let ram = RamCache::new();
    let (status, text) = ram.inside(&format!(
        "RAMCACHE -q mount && RAMCACHE -q restore && rm FOLDER/ip.txt && : >FOLDER/hosts.dns &&
        ! RAMCACHE -q save 2>/dev/null && {reboot} && cat FOLDER/ip.txt FOLDER/hosts.dns"
    ));
    assert_eq!((status, text), (0, format!("{STATE}{HOSTS}")));
}

#[test]
fn mount_says_what_it_did_and_hides_nothing() {
    if !can_run("ddns-ramcache mount", &["root", "/usr/bin/unshare"]) {
        return;
    }
    let ram = RamCache::new();
    let folder = ram.scene.path("www/ramcache").display().to_string();
    let inside = |script: &str| ram.inside(script);
    let mounted = format!("mounted a RAM disk of 8m on {folder}\n");
    let (status, text) = inside("RAMCACHE mount 2>&1; RAMCACHE mount 2>&1; cat FOLDER/hosts.dns");
    let again = format!("there is a RAM disk on {folder} already\n");
    // What it would hide was saved first, and is on the RAM disk from the start.
    assert_eq!((status, text), (0, format!("{mounted}{again}{HOSTS}")));
    assert_eq!(ram.copies(), ["copy-0000000001"]);
    let script =
        "mount -t tmpfs tmpfs /run; RAMCACHE --quiet mount && RAMCACHE -q mount && echo /run/ddns*";
    assert_eq!(inside(script), (0, "/run/ddns*\n".to_owned()));
    ram.scene.write("www/ramcache/ip.php", "");
    let (status, text) = inside("RAMCACHE mount");
    assert!(
        status == 1 && text.contains("would hide other files; move them away first: ip.php"),
        "{text}"
    );
    fs::remove_file(ram.scene.path("www/ramcache/ip.php")).unwrap();
    // Whoever owns the folder above it could have the RAM disk hide any other one.
    let script =
        "mv FOLDER FOLDER.moved && ln -s /media FOLDER; RAMCACHE mount; mountpoint -q /media;
        status=$?; rm FOLDER && mv FOLDER.moved FOLDER; exit $status";
    let (status, text) = inside(script);
    let settings = ram.scene.path("etc/ramcache.conf").display().to_string();
    let refusal = format!(
        "{folder} is a link, or lies behind one: let folder= in {settings} name the folder itself\n"
    );
    assert!(status == 32 && text.ends_with(&refusal), "{text}");
    ram.scene.write("www/ramcache/ip.txt", "{");
    let (status, text) = inside("RAMCACHE mount");
    let warning =
        format!("ddns-ramcache: {folder}/ip.txt was not copied, and the RAM disk hides it\n");
    assert!(status == 0 && text.contains(&warning) && text.ends_with(&mounted), "{text}");
}

#[test]
fn unmount_puts_the_files_back_also_while_somebody_uses_the_ram_disk() {
    if !can_run("ddns-ramcache unmount", &["root", "/usr/bin/unshare"]) {
        return;
    }
    let ram = RamCache::new();
    let folder = ram.scene.path("www/ramcache").display().to_string();
    assert_eq!(ram.does(&["unmount"]), format!("there is no RAM disk on {folder}\n"));
    let back = format!("put the files back on disk, into {folder}\n");
    for user in [":", "(cd FOLDER && exec sleep 1) &", "(cd FOLDER && exec sleep 60) & user=$!"] {
        ram.scene.write("www/ramcache/ip.txt", STATE);
        let change = "sed -i s/129.118.243.10/192.0.2.1/ FOLDER/ip.txt FOLDER/hosts.dns";
        let script = format!(
            "RAMCACHE -q mount && {change} && {{ {user}
             RAMCACHE unmount; }} && ! mountpoint -q FOLDER; kill $user"
        );
        let (_, text) = ram.inside(&script);
        assert!(text.starts_with(&back), "{user}: {text}");
        assert!(ram.scene.state().contains("192.0.2.1"), "{user}");
        assert!(ram.scene.hosts().contains("192.0.2.1"), "{user}");
    }
    // What cannot be saved stays where it is.
    let (status, text) = ram.inside(
        "RAMCACHE -q mount && echo { >FOLDER/ip.txt; RAMCACHE unmount; mountpoint -q FOLDER",
    );
    assert!(status == 0 && text.contains("ip.txt is broken, so it was not copied"), "{text}");
    let way_out =
        format!("the RAM disk stays; umount -l {folder} removes it with all that was not copied\n");
    assert!(text.ends_with(&way_out), "{text}");
    // A RAM disk of the operator's own.
    let (status, text) = ram.inside(
        "cp /etc/fstab FOLDER/../fstab; echo tmpfs FOLDER tmpfs size=8m >>FOLDER/../fstab
         mount --bind FOLDER/../fstab /etc/fstab
         mount FOLDER; RAMCACHE unmount; mountpoint -q FOLDER",
    );
    let stays = format!("the RAM disk on {folder} is in /etc/fstab, and stays\n");
    assert_eq!((status, text), (0, stays));
}
