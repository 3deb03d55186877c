//! What a dnsmasq was told about whom it answers: its command line and its files.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::machine::Local;

/// The file that dnsmasq reads if the command line names none.
const DEFAULT_FILE: &str = "/etc/dnsmasq.conf";

/// The port of a dnsmasq that only gives out addresses (DHCP).
const NO_DNS: u16 = 0;

/// dnsmasq's short options without a value: `OPTSTRING` in its `option.c`.
const FLAGS: &str = "951yZDNLERKzowefnbvhdkq";

/// The names of the short options that matter here.
const SHORT: [(char, &str); 9] = [
    ('C', "conf-file"),
    ('7', "conf-dir"),
    ('i', "interface"),
    ('I', "except-interface"),
    ('a', "listen-address"),
    ('p', "port"),
    ('r', "resolv-file"),
    ('R', "no-resolv"),
    ('S', "server"),
];

/// The settings that matter here.
#[derive(Default)]
pub struct Settings {
    /// The name of this server: the first value of `auth-server`.
    pub name: Option<String>,
    /// The values of `auth-zone`, without subnets.
    pub zones: Vec<String>,
    /// Whether some `server` is asked about names of all domains.
    pub has_servers: bool,
    /// The port of dnsmasq.
    pub port: u16,
    authoritative: Vec<String>,
    interfaces: Vec<String>,
    excepted: Vec<String>,
    addresses: Vec<IpAddr>,
    local_service: bool,
    no_resolv: bool,
    resolv_files: Vec<String>,
    files: Vec<PathBuf>,
}

/// What strangers get at an address.
#[derive(Debug, PartialEq, Eq)]
pub enum Service {
    Nothing,
    /// Answers about the zones, and refusals.
    Zones,
    /// Answers about all names.
    AllNames,
}

impl Settings {
    /// Reads the settings of a dnsmasq with this root folder and command line.
    pub fn read(root: &Path, words: &[String]) -> Self {
        let mut settings = Self { port: 53, ..Self::default() };
        let options = options(words);
        for (name, value) in &options {
            settings.set(root, name, value);
        }
        if !options.iter().any(|(name, _)| name == "conf-file") {
            settings.include(root, DEFAULT_FILE);
        }
        settings
    }

    /// The files that list the name servers to ask.
    pub fn resolv_files(&self) -> impl Iterator<Item = &str> {
        let is_default = self.resolv_files.is_empty();
        let default = is_default.then_some("/etc/resolv.conf");
        let files = self.resolv_files.iter().map(String::as_str).chain(default);
        files.filter(|_| !self.no_resolv)
    }

    /// What strangers get at this address. dnsmasq decides it like this, in `iface_check` of its
    /// `network.c`. For TCP, the interface that has the address counts, wherever a packet comes in.
    pub fn service_at(&self, local: &Local) -> Service {
        let Local { interface, address } = local;
        if self.port == NO_DNS {
            return Service::Nothing;
        }
        if self.authoritative.iter().any(|place| is_at(place, local)) {
            return Service::Zones;
        }
        let has_name = |names: &[String]| names.iter().any(|name| matches(name, interface));
        let is_restricted = !self.interfaces.is_empty() || !self.addresses.is_empty();
        let is_exempt = self.excepted.is_empty() && self.name.is_none() && !is_restricted;
        if self.local_service && is_exempt {
            return Service::Nothing;
        }
        let is_named = !is_restricted || has_name(&self.interfaces);
        if self.addresses.contains(address) || is_named && !has_name(&self.excepted) {
            Service::AllNames
        } else {
            Service::Nothing
        }
    }

    fn set(&mut self, root: &Path, name: &str, value: &str) {
        let mut values = value.split(',').map(str::trim).filter(|value| !value.is_empty());
        match name {
            "auth-server" => {
                self.name = values.next().map(without_dot);
                self.authoritative.extend(values.map(str::to_owned));
            }
            "auth-zone" => self.zones.extend(values.next().map(without_dot)),
            "interface" => self.interfaces.extend(values.map(str::to_owned)),
            "except-interface" => self.excepted.extend(values.map(str::to_owned)),
            "listen-address" => self.addresses.extend(values.flat_map(str::parse::<IpAddr>)),
            "local-service" => self.local_service = true,
            "no-resolv" => self.no_resolv = true,
            "resolv-file" => self.resolv_files.extend(values.map(str::to_owned)),
            // `server=/DOMAIN/ADDRESS` is for one domain only, and `#` means all.
            "server" | "local" => {
                let is_for_all = !value.starts_with('/') || value.starts_with("/#/");
                self.has_servers |= is_for_all && !value.is_empty();
            }
            "port" => self.port = value.parse().unwrap_or(self.port),
            "conf-file" => self.include(root, value),
            "conf-dir" => self.include_folder(root, value),
            _ => {}
        }
    }

    /// Reads a file, once.
    fn include(&mut self, root: &Path, file: &str) {
        let path = below(root, file);
        if self.files.contains(&path) {
            return;
        }
        self.files.push(path);
        let text = read_file(root, file).unwrap_or_default();
        for (name, value) in text.lines().filter_map(setting) {
            self.set(root, name, &value);
        }
    }

    /// Reads the files of a folder. The value goes on with endings: those of files to leave out,
    /// or, after a `*`, those of the only ones to read.
    fn include_folder(&mut self, root: &Path, value: &str) {
        let mut values = value.split(',').map(str::trim).filter(|value| !value.is_empty());
        let Some(folder) = values.next() else { return };
        let endings: Vec<&str> = values.collect();
        let entries = fs::read_dir(below(root, folder)).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for name in names.filter(|name| is_read(name, &endings)) {
            self.include(root, &format!("{folder}/{name}"));
        }
    }
}

/// A name without the dot that may end it.
fn without_dot(name: &str) -> String {
    name.trim_end_matches('.').to_owned()
}

/// Reads a file that a process with this root folder sees.
pub fn read_file(root: &Path, file: &str) -> Option<String> {
    fs::read(below(root, file)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn below(root: &Path, file: &str) -> PathBuf {
    root.join(file.trim_start_matches('/'))
}

/// The addresses in a resolv.conf(5).
pub fn name_servers(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()?.parse().ok()
    });
    lines.collect()
}

/// Whether a place of `auth-server` is this one: an address, or an interface that may be followed
/// by `/4` or `/6`.
fn is_at(place: &str, local: &Local) -> bool {
    if let Ok(address) = place.parse::<IpAddr>() {
        return address == local.address;
    }
    let (interface, family) = place.split_once('/').unwrap_or((place, ""));
    let is_family = match family {
        "4" => local.address.is_ipv4(),
        "6" => local.address.is_ipv6(),
        _ => true,
    };
    interface == local.interface && is_family
}

/// Whether an interface has this name; a `*` at its end stands for anything.
fn matches(name: &str, interface: &str) -> bool {
    name.strip_suffix('*').map_or(name == interface, |start| interface.starts_with(start))
}

/// Whether dnsmasq reads the file of this name in a folder.
fn is_read(name: &str, endings: &[&str]) -> bool {
    let has = |ending: &str| name.len() > ending.len() && name.ends_with(ending);
    let is_hidden = name.starts_with('.') || name.ends_with('~');
    let is_backup = name.starts_with('#') && name.ends_with('#');
    let mut wanted = endings.iter().filter_map(|ending| ending.strip_prefix('*')).peekable();
    let is_wanted = wanted.peek().is_none() || wanted.any(has);
    let mut unwanted = endings.iter().filter(|ending| !ending.starts_with('*'));
    !is_hidden && !is_backup && is_wanted && !unwanted.any(|ending| has(ending))
}

/// Name and value in a line of a file.
fn setting(line: &str) -> Option<(&str, String)> {
    // A comment begins a line or follows a space.
    let start = line.char_indices().find(|(at, c)| {
        let before = line.get(..*at).unwrap_or_default();
        *c == '#' && !before.ends_with(|c: char| !c.is_whitespace())
    });
    let line = line.get(..start.map_or(line.len(), |(at, _)| at)).unwrap_or_default();
    let (name, value) = line.split_once('=').unwrap_or((line, ""));
    let name = name.trim();
    (!name.is_empty()).then(|| (name, value.trim().replace('"', "")))
}

/// The options on a command line, by their long names. They have the forms of `getopt_long(3)`.
fn options(words: &[String]) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let mut following = |value: &str| match value {
            "" => words.next_if(|next| !next.starts_with('-')).unwrap_or_default().to_owned(),
            value => value.to_owned(),
        };
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').unwrap_or((long, ""));
            options.push((name.to_owned(), following(value)));
        } else if let Some(letters) = word.strip_prefix('-') {
            for (at, letter) in letters.char_indices() {
                let rest = letters.get(at + letter.len_utf8()..).unwrap_or_default();
                let is_flag = FLAGS.contains(letter);
                let value = if is_flag { String::new() } else { following(rest) };
                let name = SHORT.iter().find(|(short, _)| *short == letter);
                options.extend(name.map(|(_, name)| ((*name).to_owned(), value)));
                if !is_flag {
                    break;
                }
            }
        }
    }
    options
}

#[cfg(test)]
impl Settings {
    /// The settings of these words and a default file with this text.
    pub fn of(words: &[&str], text: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(below(root.path(), DEFAULT_FILE), text).unwrap();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Self::read(root.path(), &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Vec<(String, String)> {
        options(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_of_debians_service_is_understood() {
        let line = "-x /run/dnsmasq/dnsmasq.pid -u dnsmasq -i eth0 -I lo \
                    -r /run/dnsmasq/resolv.conf \
                    -7 /etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new \
                    --local-service --trust-anchor=.,20326,8,2,E06D";
        let expected = [
            ("interface", "eth0"),
            ("except-interface", "lo"),
            ("resolv-file", "/run/dnsmasq/resolv.conf"),
            ("conf-dir", "/etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new"),
            ("local-service", ""),
            ("trust-anchor", ".,20326,8,2,E06D"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parsed(line), expected);
    }

    #[test]
    fn every_form_of_an_option_is_understood() {
        let expected = vec![("interface".to_owned(), "eth0".to_owned())];
        for line in ["-i eth0", "-ieth0", "-kdi eth0", "--interface eth0", "--interface=eth0"] {
            assert_eq!(parsed(line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_of_a_file_is_a_name_and_perhaps_a_value() {
        for (line, expected) in [
            ("interface=eth0", Some(("interface", "eth0"))),
            (" interface = eth0 # outside", Some(("interface", "eth0"))),
            ("no-resolv", Some(("no-resolv", ""))),
            ("server=192.0.2.1#5353", Some(("server", "192.0.2.1#5353"))),
            ("listen-address=\"192.0.2.1\"", Some(("listen-address", "192.0.2.1"))),
            ("#interface=eth0", None),
            ("  # interface=eth0", None),
            ("", None),
        ] {
            let expected = expected.map(|(name, value)| (name, value.to_owned()));
            assert_eq!(setting(line), expected, "{line}");
        }
    }

    #[test]
    fn files_are_left_out_and_chosen_by_their_endings() {
        let debian = [".dpkg-dist", ".dpkg-old", ".dpkg-new"];
        for (name, endings, expected) in [
            ("ddns-cgi.conf", &debian[..], true),
            ("ddns-cgi.conf.dpkg-old", &debian, false),
            (".dpkg-old", &debian, false),
            ("README", &[], true),
            ("README", &["*.conf"], false),
            ("a.conf", &["*.conf"], true),
            ("a.conf~", &[], false),
            (".a.conf", &[], false),
            ("#a#", &[], false),
        ] {
            assert_eq!(is_read(name, endings), expected, "{name} {endings:?}");
        }
    }

    #[test]
    fn files_that_files_name_are_read_once() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        for folder in ["etc", "etc/more"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        write("etc/dnsmasq.conf", "conf-file=/etc/other.conf\nconf-dir=/etc/more,*.conf\n");
        write("etc/other.conf", "conf-file=/etc/dnsmasq.conf\ninterface=eth1\n");
        write("etc/more/a.conf", "interface=eth2\n");
        write("etc/more/b", "interface=eth3\n");
        write("etc/alone.conf", "interface=eth4\n");
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Settings::read(root.path(), &words).interfaces
        };
        assert_eq!(read(&[]), ["eth1", "eth2"]);
        assert_eq!(read(&["-C", "/etc/alone.conf"]), ["eth4"]);
        assert_eq!(read(&["-7", "/etc/more"]).len(), 3);
    }

    #[test]
    fn a_server_for_one_domain_does_not_make_a_resolver() {
        for (text, expected) in [
            ("server=192.0.2.1", true),
            ("server=/#/192.0.2.1", true),
            ("server=/lan/192.0.2.1", false),
            ("local=/lan/", false),
            ("", false),
        ] {
            assert_eq!(Settings::of(&[], text).has_servers, expected, "{text}");
        }
    }

    #[test]
    fn resolv_conf_lists_the_name_servers_unless_dnsmasq_does_not_read_it() {
        let files = |text: &str| {
            let settings = Settings::of(&[], text);
            settings.resolv_files().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(files(""), ["/etc/resolv.conf"]);
        assert_eq!(files("resolv-file=/run/resolv.conf"), ["/run/resolv.conf"]);
        assert!(files("no-resolv").is_empty());
        let text = "# nameserver 192.0.2.1\nsearch lan\nnameserver 192.0.2.2\nnameserver\t::1\n";
        let expected: [IpAddr; 2] = ["192.0.2.2".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(name_servers(text), expected);
    }

    #[test]
    fn a_dot_at_the_end_of_a_name_does_not_count() {
        let text = "auth-server=ns.example.net.,eth0\nauth-zone=h.example.net.,192.0.2.0/24";
        let settings = Settings::of(&[], text);
        assert_eq!(settings.name.unwrap(), "ns.example.net");
        assert_eq!(settings.zones, ["h.example.net"]);
    }

    #[test]
    fn a_star_stands_for_the_rest_of_an_interfaces_name() {
        assert!(matches("eth*", "eth0") && matches("eth0", "eth0"));
        assert!(!matches("eth*", "lan0") && !matches("eth0", "eth00"));
    }
}
