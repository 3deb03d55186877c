//! `ddnsctl generate`: man pages and shell completions, made from the command line itself.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use ddns_cgi::fault::Fault;

use crate::Report;
use crate::cli::Arguments;

/// Writes `man1/` and `completions/` into `folder`.
pub fn run(folder: &Path) -> Result<Report, Fault> {
    let fault =
        |error: std::io::Error| Fault::io("write man pages and completions", folder, &error);
    let pages = folder.join("man1");
    let completions = folder.join("completions");
    for folder in [&pages, &completions] {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    clap_mangen::generate_to(Arguments::command(), &pages).map_err(fault)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut Arguments::command(), "ddnsctl", &completions)
            .map_err(fault)?;
    }
    Ok(Report::good(""))
}
