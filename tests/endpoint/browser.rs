//! The status page in a real browser, and what axe-core says about it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::apache::{APACHE, Apache, Kind};
use crate::scene::{can_run, time};
use crate::status::{BROWSER, HOSTILE, ask, scene, state};
use crate::transport::Transport;

#[test]
fn the_one_style_sheet_of_the_page_is_the_one_that_its_policy_names() {
    const OPENSSL: &str = "/usr/bin/openssl";
    if !can_run("the hash of the style sheet", &[OPENSSL]) {
        return;
    }
    let scene = scene();
    for state in [state(), "{".to_owned()] {
        scene.write("www/ramcache/ip.txt", &state);
        let page = ask(&scene, &Transport::Bare, "GET", "/status", &[BROWSER]);
        let style = page.body.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        scene.write("run/style", style);
        let digest = Command::new("sh")
            .args(["-c", "openssl dgst -sha256 -binary \"$0\" | openssl base64"])
            .arg(scene.path("run/style"))
            .output()
            .unwrap();
        let digest = String::from_utf8(digest.stdout).unwrap();
        let policy = format!("style-src 'sha256-{}';", digest.trim_end());
        assert!(page.headers.contains(&policy), "{policy} has to be in {}", page.headers);
    }
}

/// What `browser.py` finds at a URL, in each view.
fn browse(url: &str, options: &[&str]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint/browser.py");
    let output =
        Command::new("/usr/bin/python3").arg(script).arg(url).args(options).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The script of axe-core.
fn axe_core() -> Option<String> {
    if !can_run("axe-core", &["/usr/bin/npm"]) {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint/axe-core.sh");
    let output = Command::new(script).arg(env!("CARGO_TARGET_TMPDIR")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

#[test]
fn everybody_can_use_the_page_on_desktop_and_phone_in_light_and_dark() {
    if !can_run("the page in a browser", &[APACHE, "/usr/bin/chromium", "/usr/bin/python3"]) {
        return;
    }
    let Some(axe) = axe_core() else { return };
    let scene = scene();
    let mut state: Value = serde_json::from_str(&state()).unwrap();
    state[HOSTILE[0]] = json!({"ip": "192.0.2.1"});
    state["fresh.example"]["changed"] = "2026-01-01 00:00:00".into();
    state[format!("{}.example", ["label"; 40].join("."))] = json!({"update": time(0)});
    let apache = Apache::start(&scene, Kind::EventCgid);
    let url = apache.url("/ip.php/status");
    let users = json!({"alice": {"id": ["fresh.example"], "every": {"fresh.example": 900}}});
    let host = |n: u32| (format!("host{n:05}.example"), json!({"ip": "192.0.2.1"}));
    let many = Value::Object((0..10_000).map(host).collect()).to_string();
    let pages = [
        (many, "", "", 1000),
        (state.to_string(), "failed exit status: 1: no\n", "", 7),
        (state.to_string(), "changed x\n", "?find=example&show=silent", 2),
        (state.to_string(), "", "?find=%3Cb%3E%22&show=broken", 0),
        ("{}".to_owned(), "", "", 3),
        ("{".to_owned(), "", "", 0),
    ];
    for (state, mark, query, rows) in pages {
        scene.write("www/ramcache/ip.txt", &state);
        // Owners are known, or the page says that they are not.
        let credentials = if mark.is_empty() { "{".to_owned() } else { users.to_string() };
        scene.write("etc/credentials.json", &credentials);
        fs::write(scene.mark(), mark).unwrap();
        let url = format!("{url}{query}");
        let views = browse(&url, &["--widths", "1000", "390", "320", "--axe", &axe]);
        assert_eq!(views.len(), 6);
        for view in views {
            let what = view["view"].as_str().unwrap();
            let (width, scheme) = what.split_once(' ').unwrap();
            let background =
                if scheme == "dark" { "rgb(21, 24, 27)" } else { "rgb(251, 251, 249)" };
            assert_eq!(view["background"], background, "the style sheet counts, {view:#}");
            assert_eq!(
                view["width"].to_string(),
                width,
                "nothing is wider than the window, {view:#}"
            );
            assert_eq!((&view["rows"], &view["scripts"]), (&json!(rows), &json!(0)), "{view:#}");
            assert_eq!(view["axe"]["violations"], json!([]), "{view:#}");
            assert_eq!(view["axe"]["incomplete"], json!([]), "{view:#}");
            assert!(view["axe"]["passes"].as_u64().unwrap() > 15, "{view:#}");
        }
    }
    fs::remove_file(scene.mark()).unwrap();
}
