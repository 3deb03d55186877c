//! Replays the fuzzers' inputs without a fuzzer: what they once found stays fixed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a property that does not hold panics"
)]

#[path = "../fuzz/properties/mod.rs"]
mod properties;

use std::env;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Zones with a summer time of an hour and of half an hour, with a day that never was, and without.
const ZONES: [&str; 5] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"];

#[test]
fn every_input_keeps_the_properties() {
    let mut broken = Vec::new();
    for (target, property) in properties::TARGETS {
        let corpus = inputs("corpus", target);
        assert!(!corpus.is_empty(), "fuzz/corpus/{target} is missing or empty");
        for file in corpus.into_iter().chain(inputs("findings", target)) {
            let input = fs::read(&file).unwrap();
            if catch_unwind(|| property(&input)).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "these break a property: {broken:#?}");
}

#[test]
fn they_do_so_in_every_zone() {
    for zone in ZONES {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "every_input_keeps_the_properties"])
            .env("TZ", zone)
            .output()
            .unwrap();
        assert!(output.status.success(), "{zone}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// The files of a folder of inputs, which may be missing.
fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    files.map(|file| file.unwrap().path()).collect()
}
