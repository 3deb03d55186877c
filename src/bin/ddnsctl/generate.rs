//! `ddnsctl generate`: man pages and shell completions, made from the command line itself.

use std::fs;
use std::path::Path;

use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use ddns_cgi::fault::Fault;

use crate::complete::ASKED;
use crate::{Report, manual};

/// The shells, their files, and what they need besides that by which they ask `ddnsctl`.
const COMPLETIONS: [(&dyn EnvCompleter, &str, &str); 3] = [
    (&Bash, "ddnsctl.bash", ""),
    (&Fish, "ddnsctl.fish", ""),
    // zsh reads the file at the first completion, and wants an answer to that one, too.
    (&Zsh, "_ddnsctl", "[[ $funcstack[1] != _ddnsctl ]] || _clap_dynamic_completer_ddnsctl\n"),
];

/// Writes `man8/` and `completions/` into `folder`.
pub fn run(folder: &Path) -> Result<Report, Fault> {
    let fault =
        |error: std::io::Error| Fault::io("write man pages and completions", folder, &error);
    let pages = folder.join(format!("man{}", manual::SECTION));
    let completions = folder.join("completions");
    for folder in [&pages, &completions] {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    manual::write(&pages).map_err(fault)?;
    for (shell, file, more) in COMPLETIONS {
        let mut text = Vec::new();
        shell
            .write_registration(ASKED, "ddnsctl", "ddnsctl", "ddnsctl", &mut text)
            .map_err(fault)?;
        text.extend_from_slice(more.as_bytes());
        fs::write(completions.join(file), text).map_err(fault)?;
    }
    Ok(Report::good(""))
}
