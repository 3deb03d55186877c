//! The status as metrics in Prometheus's text format.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::Display;

use crate::publish::target::Target;
use crate::status::{Condition, Host, Progress, Status};

/// The version of the format.
pub(super) const VERSION: &str = "0.0.4";

/// The headers of this form.
pub(super) const HEADERS: &str = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
                           X-Content-Type-Options: nosniff\r\nVary: Accept\r\n";

/// The whole status except the reason why a target failed.
pub(super) fn page(status: &Status) -> String {
    let mut text = String::new();
    add_counts(&mut text, status);
    add_hosts(&mut text, &status.hosts);
    for (target, progress) in &status.targets {
        add_target(&mut text, *target, progress);
    }
    text
}

fn add_counts(text: &mut String, status: &Status) {
    gauge(text, "ddns_hosts", "Hosts in the state, by condition.");
    for condition in Condition::ALL {
        let labels = [("condition", condition.word())];
        sample(text, "ddns_hosts", &labels, status.count(condition));
    }
}

fn add_hosts(text: &mut String, hosts: &[Host]) {
    let name = "ddns_host_last_update_timestamp_seconds";
    gauge(text, name, "When the last update of a host was accepted.");
    for host in hosts {
        if let Some(stamp) = host.update {
            sample(text, name, &[("host", &host.name)], stamp.unix_seconds());
        }
    }
    let name = "ddns_host_changed_timestamp_seconds";
    gauge(text, name, "When a host got its addresses, if that is known.");
    for host in hosts {
        if let Some(stamp) = host.changed {
            sample(text, name, &[("host", &host.name)], stamp.unix_seconds());
        }
    }
    let name = "ddns_host_expired";
    gauge(text, name, "Whether a host has left DNS because it was silent: 1 or 0.");
    for host in hosts {
        sample(text, name, &[("host", &host.name)], u8::from(host.has_expired));
    }
    let name = "ddns_host_info";
    gauge(text, name, "The owner of a host; the value is 1.");
    for host in hosts {
        if let Some(owner) = &host.owner {
            sample(text, name, &[("host", &host.name), ("owner", owner)], 1);
        }
    }
    let name = "ddns_host_address_info";
    gauge(text, name, "The addresses of a host; the value is 1.");
    for host in hosts {
        for address in &host.addresses {
            let labels = [("host", host.name.as_str()), ("address", &address.to_string())];
            sample(text, name, &labels, 1);
        }
    }
}

fn add_target(text: &mut String, target: Target, progress: &Progress) {
    let of = match target {
        Target::HostsFile => "dnsmasq",
        Target::Zones => "the zones",
    };
    let name = format!("ddns_{}_pending", target.key());
    gauge(text, &name, &format!("Whether a change waits for a {target} of {of}: 1 or 0."));
    sample(text, &name, &[], u8::from(*progress != Progress::Done));
    let name = format!("ddns_{}_failed", target.key());
    gauge(text, &name, &format!("Whether the last {target} of {of} failed: 1 or 0."));
    sample(text, &name, &[], u8::from(progress.failure().is_some()));
}

/// The page if there was a fault: only a comment. The HTTP status tells Prometheus that the target
/// is down.
pub(super) fn page_of_fault() -> String {
    "# 911\n".to_owned()
}

fn gauge(text: &mut String, name: &str, help: &str) {
    *text += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
    let labels =
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    *text += &format!("{name}{labels} {value}\n");
}

/// The value of a label, with backslash, quote and line feed escaped.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_ends_early() {
        assert_eq!(escape("a\\\"\nb{}é"), r#"a\\\"\nb{}é"#);
        let mut text = String::new();
        sample(&mut text, "x", &[("host", "a\"} 1\nevil 2"), ("b", "c")], 3);
        assert_eq!(text, "x{host=\"a\\\"} 1\\nevil 2\",b=\"c\"} 3\n");
    }
}
