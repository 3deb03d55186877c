//! The dnsmasq processes and the addresses of this machine's network.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An address of this machine.
#[derive(Debug, PartialEq)]
pub struct Local {
    /// The interface that has it.
    pub interface: String,
    pub address: IpAddr,
}

/// A running dnsmasq.
pub struct Process {
    /// The root folder as it sees it.
    pub root: PathBuf,
    /// Its command line, without the program.
    pub words: Vec<String>,
}

/// Every dnsmasq in the network namespace of this process. Containers may have others.
pub fn dnsmasq() -> Vec<Process> {
    let own = fs::read_link("/proc/self/ns/net").ok();
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let mut processes: Vec<Process> = entries
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let words = words(&fs::read_to_string(folder.join("cmdline")).ok()?)?;
            let network = fs::read_link(folder.join("ns/net")).ok();
            (network == own).then(|| Process { root: folder.join("root"), words })
        })
        .collect();
    // Helpers of a dnsmasq have its command line.
    processes.sort_by(|a, b| a.words.cmp(&b.words));
    processes.dedup_by(|a, b| a.words == b.words);
    processes
}

/// The words after the program in a command line, if that is dnsmasq. Its init script has the same
/// name, but a shell runs it.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = line.split_terminator('\0');
    let is_dnsmasq = Path::new(words.next()?).file_name()? == "dnsmasq";
    is_dnsmasq.then(|| words.map(str::to_owned).collect())
}

/// The addresses of all interfaces.
pub fn addresses() -> Vec<Local> {
    let mut command = Command::new("ip");
    command.args(["-oneline", "address", "show"]).stderr(Stdio::null());
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().filter_map(address).collect()
}

/// The address in a line such as `2: eth0    inet 192.0.2.53/24 brd ...`.
fn address(line: &str) -> Option<Local> {
    let mut words = line.split_whitespace().skip(1);
    let interface = words.next()?.to_owned();
    let address = words.nth(1)?.split('/').next()?.parse().ok()?;
    Some(Local { interface, address })
}

#[cfg(test)]
impl Local {
    pub fn new(interface: &str, address: &str) -> Self {
        Self { interface: interface.to_owned(), address: address.parse().unwrap() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_init_script_is_not_taken_for_dnsmasq() {
        let words = |line: &str| words(line).map(|words| words.join(" "));
        assert_eq!(words("/usr/sbin/dnsmasq\0-u\0dnsmasq\0").unwrap(), "-u dnsmasq");
        assert_eq!(words("dnsmasq\0").unwrap(), "");
        for other in ["/bin/sh\0/etc/init.d/dnsmasq\0restart\0", "dnsmasq-helper\0", ""] {
            assert_eq!(words(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_line_of_ip_names_interface_and_address() {
        for (line, expected) in [
            (
                "2: eth0    inet 192.0.2.53/24 brd 192.0.2.255 scope global eth0\\  valid_lft",
                Some(Local::new("eth0", "192.0.2.53")),
            ),
            (
                "7: ppp0    inet 192.0.2.7 peer 192.0.2.1/32 scope global ppp0",
                Some(Local::new("ppp0", "192.0.2.7")),
            ),
            (
                "2: eth0    inet6 2001:db8::53/64 scope global",
                Some(Local::new("eth0", "2001:db8::53")),
            ),
            ("", None),
        ] {
            assert_eq!(address(line), expected, "{line}");
        }
    }
}
