//! The status page of a state.

use std::collections::BTreeSet;

use chrono::DateTime;
use ddns_cgi::config::Config;
use ddns_cgi::publish::target::Target;
use ddns_cgi::status::Status;
use ddns_cgi::status::format::Format;
use ddns_cgi::status::view::View;
use serde_json::{Map, Value};

/// Every form has each host once, and its own marks and no others.
pub fn shown(map: &Map<String, Value>) {
    let now = DateTime::from_timestamp(1_339_689_507, 0).unwrap();
    let status = Status::of(map, &[(Target::HostsFile, None)], &Config::default(), now, None);
    assert_eq!(status.hosts.len(), map.len());
    let body = |format: Format| {
        let reply = String::from_utf8(format.page(&status, &View::default()).into_bytes()).unwrap();
        reply.split_once("\r\n\r\n").unwrap().1.to_owned()
    };

    let page = body(Format::Html);
    let count = |mark| page.matches(mark).count();
    assert_eq!(
        (count("<tr"), count("</tr>")),
        if map.is_empty() { (0, 0) } else { (map.len() + 1, map.len() + 1) }
    );
    assert_eq!((count("<td"), count("</td>")), (map.len() * 4, map.len() * 4));
    assert_eq!(count("<script") + count("<!--") + count("<style") + count("</style"), 2);
    assert!(page.chars().all(|c| c == '\n' || c == '–' || (' '..='~').contains(&c)), "{page}");

    let json: Value = serde_json::from_str(&body(Format::Json)).unwrap();
    let names = json["hosts"].as_array().unwrap().iter().map(|host| host["host"].as_str().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), map.keys().map(String::as_str).collect());

    let metrics = body(Format::Metrics);
    let updates = status.hosts.iter().filter(|host| host.update.is_some()).count();
    let addresses: usize = status.hosts.iter().map(|host| host.addresses.len()).sum();
    let samples = 4 + updates + status.hosts.len() + addresses + 2;
    assert_eq!(metrics.split('\n').count(), 8 * 2 + samples + 1);
    let mut samples: Vec<&str> =
        metrics.split('\n').filter(|line| !line.starts_with('#')).collect();
    assert!(samples.iter().all(|line| line.is_empty() || line.starts_with("ddns_")));
    let all = samples.len();
    samples.sort_unstable();
    samples.dedup();
    assert_eq!(samples.len(), all, "no sample is there twice");
}
