//! What `ddnsctl check` says about the folders of state and hosts file, and the files beside them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ddns_cgi::config::Store;
use ddns_cgi::publish::target::Target;
use ddns_cgi::store::replace::{companion, follow};

use super::findings::{Advice, Findings};
use crate::web_user::WebUser;
use crate::words::quoted;

pub fn check(findings: &mut Findings, store: &Store, user: Option<&WebUser>) {
    for folder in folders(store) {
        check_folder(findings, &folder, user);
    }
    if let Some(user) = user {
        check_helpers(findings, store, user);
    }
}

/// The folders that must be writable, because their files are replaced as a whole.
pub fn folders(store: &Store) -> Vec<PathBuf> {
    let mut folders: Vec<_> = [&store.state, &store.hosts]
        .into_iter()
        .flat_map(|path| [path.clone(), follow(path)])
        .filter_map(|path| path.parent().map(Path::to_owned))
        .collect();
    folders.sort();
    folders.dedup();
    folders
}

fn check_folder(findings: &mut Findings, folder: &Path, user: Option<&WebUser>) {
    let (shown, path) = (folder.display(), quoted(folder.display()));
    let Ok(metadata) = fs::metadata(folder) else {
        let owner = user.map_or("WEBUSER".to_owned(), |user| quoted(&user.name));
        let advice =
            Advice::say("Create it, or correct \"state\" and \"hosts\" in the configuration:");
        let advice = advice.then(format!("install -d -o {owner} {path}"));
        findings.error(&shown, "is not there", advice);
        return;
    };
    if metadata.mode() & 0o002 != 0 {
        let advice = Advice::run(format!("chmod o-w {path}"));
        findings.error(&shown, "everybody can change the files in it", advice);
    }
    if let Some(user) = user.filter(|user| !user.may("-w", folder)) {
        let name = &user.name;
        findings.error(
            &shown,
            format_args!("{name} cannot write there"),
            Advice::run(format!("chown {} {path}", quoted(name)))
                .then(format!("chmod u+rwx {path}")),
        );
    }
}

/// The web server's user must be able to write the helper files, but a run as root may have left
/// them behind.
fn check_helpers(findings: &mut Findings, store: &Store, user: &WebUser) {
    let [lock, index] = ["lock", "index"].map(|purpose| companion(&store.state, purpose));
    let of_targets = Target::ALL
        .into_iter()
        .flat_map(|target| [target.mark(&store.hosts), target.turn(&store.hosts)]);
    for helper in [lock, index].into_iter().chain(of_targets) {
        let Ok(metadata) = fs::metadata(&helper) else { continue };
        let (shown, path) = (helper.display(), quoted(helper.display()));
        if !user.may("-w", &helper) {
            let advice = Advice::run(format!("chown {} {path}", user.owner()));
            findings.error(&shown, format_args!("{} cannot write it", user.name), advice);
        }
        if metadata.mode() & 0o002 != 0 {
            let advice = Advice::run(format!("chmod o= {path}"));
            findings.warning(&shown, "everybody can write it", advice);
        }
    }
}
