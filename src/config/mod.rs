//! The operator's settings: one JSON object in the file that `DDNS_CONFIG` names.
//!
//! Each room has its own group of settings, with the defaults of version 0.1. An unknown key or a
//! wrong value is refused with the name of its key: a setting that is quietly not in force would
//! only be found when it is missed.
//!
//! - [`audience`]: who may see the status page,
//! - `value`: the kinds of values, and what the operator reads if one is wrong.

pub mod audience;
mod value;

pub use value::url;

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::audience::Audience;
use crate::fault::{Fault, json_position};
use crate::protocol::dyndns2::{Dyndns2, Rules};
use crate::protocol::host::HostName;
use crate::protocol::special::PrivateAddresses;
use crate::protocol::stamp::TimeZone;

/// The environment variable that names the configuration file.
pub const VARIABLE: &str = "DDNS_CONFIG";

/// The configuration file if the variable is not set. If the file is missing, all defaults apply.
pub const DEFAULT_FILE: &str = "/etc/ddns-cgi/config.json";

/// A name server on this machine, at the port of DNS.
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// The folders in which the program looks for a command without a path.
pub const COMMAND_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What a value must be, or what to do about a key.
type Need = Cow<'static, str>;

/// About a key that nobody knows.
const UNKNOWN: &str = "is unknown: correct its spelling or remove it";

/// The settings, checked, in one group for each room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The file that these settings come from, if `DDNS_CONFIG` named it.
    pub file: Option<PathBuf>,
    /// For [`crate::protocol`].
    pub protocol: Protocol,
    /// For [`crate::store`].
    pub store: Store,
    /// For [`crate::publish`].
    pub publish: Publish,
    /// For [`crate::status`].
    pub status: Status,
    /// Where clients reach this server, such as `https://ns.example.net/ip.php`. Only `ddnsctl`
    /// needs to know.
    pub url: Option<String>,
}

/// Which requests the server believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The replay window: how many seconds a stamp may differ from the clock, either way.
    pub window: u64,
    /// What it accepts of dyndns2.
    pub dyndns2: Rules,
    /// Whether hosts may have private addresses.
    pub private: PrivateAddresses,
}

/// Where the files are, and how the store treats them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The JSON state.
    pub state: PathBuf,
    /// dnsmasq's `addn-hosts` file.
    pub hosts: PathBuf,
    /// Users, keys and host names.
    pub credentials: PathBuf,
    /// The time zone of stamps without an offset, in requests and in the state.
    pub time_zone: TimeZone,
    /// How many seconds a request waits for the lock on the state.
    pub lock_timeout: u32,
    /// The seconds without an update after which a host leaves DNS; 0 for never.
    pub expire_after: u64,
}

/// How name servers learn of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The command that makes dnsmasq read the hosts file; empty for none.
    pub restart: Vec<String>,
    /// The shortest time between the starts of two restarts, in seconds.
    pub restart_interval: u32,
    /// The name server that serves the hosts file, if there is one.
    pub name_server: Option<SocketAddr>,
    /// The zones that get dynamic updates: key `publish`.
    pub zones: Option<Zones>,
}

/// Zones of an authoritative name server, and how it learns of a change: by dynamic updates (RFC
/// 2136), which a command sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zones {
    /// The command. It reads a script in the language of nsupdate(1).
    pub command: Vec<String>,
    /// The primary server, as the command sees it.
    pub server: SocketAddr,
    /// The names of the zones.
    pub names: Vec<HostName>,
    /// The time to live of the records, in seconds.
    pub ttl: u32,
}

/// The status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the server shows the page.
    pub page: bool,
    /// Who may see it besides this machine.
    pub audience: Audience,
    /// How many seconds after its last update a host counts as late.
    pub late_after: u64,
    /// How many seconds after its last update a host counts as silent.
    pub silent_after: u64,
}

impl Default for Protocol {
    fn default() -> Self {
        let dyndns2 = Rules { served: Dyndns2::Https, login_in_query: false };
        Self { window: 15, dyndns2, private: PrivateAddresses::Allowed }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            state: "/media/data/www/ramcache/ip.txt".into(),
            hosts: "/media/data/www/ramcache/hosts.dns".into(),
            credentials: "/etc/ddns-cgi/credentials.json".into(),
            time_zone: TimeZone::Utc,
            lock_timeout: 5,
            expire_after: 0,
        }
    }
}

impl Default for Publish {
    fn default() -> Self {
        let restart = ["sudo", "-n", "service", "dnsmasq", "restart"];
        Self {
            restart: restart.map(String::from).into(),
            restart_interval: 3,
            name_server: Some(DNS),
            zones: None,
        }
    }
}

impl Default for Zones {
    fn default() -> Self {
        Self { command: Vec::new(), server: DNS, names: Vec::new(), ttl: 7 }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self {
            page: false,
            audience: Audience::default(),
            late_after: 3600,
            silent_after: 24 * 3600,
        }
    }
}

impl Config {
    /// Reads the file that `variable` names, or else the default file. `variable` is the value of
    /// [`VARIABLE`].
    pub fn load(variable: Option<OsString>) -> Result<Self, Fault> {
        let named = variable.map(PathBuf::from);
        let path = named.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        if path.is_relative() {
            return Err(Fault::new(VARIABLE, "must be the absolute path of a file"));
        }
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Fault::io("read the configuration", path, &error)),
        };
        let config = Self::parse(&text).map_err(|reason| Fault::new(path.display(), reason))?;
        Ok(Self { file: named, ..config })
    }

    /// Checks the text of a configuration file. The error names the key.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let keys: Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| json_position(&error))?;
        let mut config = Self::default();
        for (key, value) in &keys {
            config.set(key, value).map_err(|need| format!("key \"{key}\" {need}"))?;
        }
        let Store { state, hosts, credentials, .. } = &config.store;
        if state == hosts || state == credentials || hosts == credentials {
            return Err(
                "keys \"state\", \"hosts\" and \"credentials\" must name three files".into()
            );
        }
        Ok(config)
    }

    /// Sets one key. The error says what the key must be.
    fn set(&mut self, key: &str, value: &Value) -> Result<(), Need> {
        match key {
            "state" => self.store.state = value::file(value)?,
            "hosts" => self.store.hosts = value::file(value)?,
            "credentials" => self.store.credentials = value::file(value)?,
            "restart" => self.publish.restart = value::command(value)?,
            "restart_interval" => self.publish.restart_interval = value::seconds(value)?,
            "name_server" => self.publish.name_server = value::name_server(value)?,
            "publish" => self.publish.zones = Some(Zones::parse(value)?),
            "window" => self.protocol.window = value::positive(value)?,
            "time_zone" => self.store.time_zone = value::time_zone(value)?,
            "lock_timeout" => self.store.lock_timeout = value::seconds(value)?,
            "expire_after" => self.store.expire_after = value::any_seconds(value)?,
            "dyndns2" => self.protocol.dyndns2.served = value::dyndns2(value)?,
            "login_in_query" => self.protocol.dyndns2.login_in_query = value::flag(value)?,
            "private_addresses" => self.protocol.private = value::private(value)?,
            "status_page" => self.status.page = value::flag(value)?,
            "status_for" => self.status.audience = Audience::parse(value)?,
            "late_after" => self.status.late_after = value::positive(value)?,
            "silent_after" => self.status.silent_after = value::positive(value)?,
            "url" => self.url = Some(value::server_url(value)?),
            _ => return Err(UNKNOWN.into()),
        }
        Ok(())
    }
}

impl Zones {
    /// The zone of a host: the longest of those that it lies in.
    ///
    /// A name with an underscore has none, since it is no host name (RFC 1123, 2.1): nsupdate and
    /// BIND refuse an address for it.
    #[must_use]
    pub fn zone_of(&self, host: &HostName) -> Option<&HostName> {
        let zones = self.names.iter().filter(|zone| host.lies_in(zone));
        let zone = zones.max_by_key(|zone| zone.as_str().len());
        zone.filter(|_| !host.as_str().contains('_'))
    }

    /// Reads the object of key `publish`.
    fn parse(value: &Value) -> Result<Self, Need> {
        let keys = value.as_object().ok_or("must be an object, such as { \"command\": ... }")?;
        let mut zones = Self::default();
        for (key, value) in keys {
            zones.set(key, value).map_err(|need| format!("has a key \"{key}\" that {need}"))?;
        }
        match (zones.command.is_empty(), zones.names.is_empty()) {
            (true, _) => Err("needs a \"command\", such as [\"nsupdate\", \"-k\", ...]".into()),
            (_, true) => Err("needs \"zones\", such as [\"h.example.net\"]".into()),
            (false, false) => Ok(zones),
        }
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), Need> {
        match key {
            "command" => self.command = value::command(value)?,
            "server" => self.server.set_ip(value::address(value)?),
            "port" => self.server.set_port(value::port(value)?),
            "zones" => self.names = value::names(value)?,
            "ttl" => self.ttl = value::time_to_live(value)?,
            _ => return Err(UNKNOWN.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_means_all_defaults() {
        assert_eq!(Config::parse(b"{}"), Ok(Config::default()));
    }

    #[test]
    fn every_key_is_read() {
        let text = br#"{"state": "/s", "hosts": "/h", "credentials": "/c", "restart": [],
            "restart_interval": 0, "window": 999999999999, "time_zone": "local", "lock_timeout": 1,
            "dyndns2": "any", "login_in_query": true, "private_addresses": false,
            "expire_after": 604800, "status_page": true,
            "status_for": ["192.0.2.0/24", "users"],
            "late_after": 2, "silent_after": 3, "url": "https://ns.example.net/ip.php",
            "name_server": "[::1]:5353",
            "publish": {"command": ["nsupdate"], "server": "192.0.2.1", "port": 54, "ttl": 60,
                "zones": ["h.example.net.", "example.org"]}}"#;
        let config = Config::parse(text).unwrap();
        assert_eq!(config.store.state, Path::new("/s"));
        assert_eq!(config.store.hosts, Path::new("/h"));
        assert_eq!(config.store.credentials, Path::new("/c"));
        assert!(config.publish.restart.is_empty());
        assert_eq!(config.publish.restart_interval, 0);
        assert_eq!(config.publish.name_server, "[::1]:5353".parse().ok());
        let zones = config.publish.zones.unwrap();
        assert_eq!(zones.command, ["nsupdate"]);
        assert_eq!((zones.server, zones.ttl), ("192.0.2.1:54".parse().unwrap(), 60));
        let names: Vec<&str> = zones.names.iter().map(HostName::as_str).collect();
        assert_eq!(names, ["h.example.net", "example.org"]);
        assert_eq!(config.protocol.window, 999_999_999_999);
        assert_eq!(config.store.time_zone, TimeZone::Local);
        assert_eq!(config.store.lock_timeout, 1);
        assert_eq!(config.store.expire_after, 604_800);
        let dyndns2 = Rules { served: Dyndns2::Any, login_in_query: true };
        assert_eq!(config.protocol.dyndns2, dyndns2);
        assert_eq!(config.protocol.private, PrivateAddresses::Refused);
        assert!(config.status.page);
        let audience = config.status.audience;
        assert!(audience.users && audience.has([192, 0, 2, 1].into()));
        assert_eq!((config.status.late_after, config.status.silent_after), (2, 3));
        assert_eq!(config.url.as_deref(), Some("https://ns.example.net/ip.php"));
    }

    #[test]
    fn each_word_and_each_bound_is_a_value() {
        let with = |text: &str| Config::parse(text.as_bytes()).unwrap();
        assert_eq!(with(r#"{"time_zone": "UTC"}"#).store.time_zone, TimeZone::Utc);
        assert_eq!(with(r#"{"dyndns2": "off"}"#).protocol.dyndns2.served, Dyndns2::Off);
        assert_eq!(with(r#"{"dyndns2": "https"}"#).protocol.dyndns2.served, Dyndns2::Https);
        let private = |text| with(text).protocol.private;
        assert_eq!(private(r#"{"private_addresses": true}"#), PrivateAddresses::Allowed);
        assert_eq!(with(r#"{"restart_interval": 3600}"#).publish.restart_interval, 3600);
        assert_eq!(with(r#"{"window": 1}"#).protocol.window, 1);
        assert_eq!(with(r#"{"restart": ["true", ""]}"#).publish.restart, ["true", ""]);
        assert_eq!(with("{}").publish.name_server, "127.0.0.1:53".parse().ok());
        assert_eq!(with(r#"{"name_server": "none"}"#).publish.name_server, None);
        let zones = with(r#"{"publish": {"command": ["x"], "zones": ["a"]}}"#).publish.zones;
        let zones = zones.unwrap();
        assert_eq!((zones.server, zones.ttl), ("127.0.0.1:53".parse().unwrap(), 7));
    }

    #[test]
    fn a_host_belongs_to_the_longest_zone_that_it_lies_in() {
        let name = |text| HostName::parse(text).unwrap();
        let names = ["example.net", "h.example.net", "example.org"].map(name).into();
        let zones = Zones { names, ..Zones::default() };
        for (host, zone) in [
            ("a.h.example.net", Some("h.example.net")),
            ("H.Example.Net", Some("h.example.net")),
            ("h2.example.net", Some("example.net")),
            ("a.example.org", Some("example.org")),
            ("a.example.com", None),
            ("a_b.example.org", None),
        ] {
            assert_eq!(zones.zone_of(&name(host)).map(HostName::as_str), zone, "{host}");
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there_but_the_default_one_need_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let fault = Config::load(Some(path.clone().into())).unwrap_err();
        assert_eq!(fault.kind, Some(ErrorKind::NotFound));
        fs::write(&path, "{}").unwrap();
        let named = Config { file: Some(path.clone()), ..Config::default() };
        assert_eq!(Config::load(Some(path.into())).unwrap(), named);
        if !Path::new(DEFAULT_FILE).exists() {
            assert_eq!(Config::load(None).unwrap(), Config::default());
        }
    }

    #[test]
    fn a_relative_path_of_the_file_itself_is_refused() {
        let fault = Config::load(Some("config.json".into())).unwrap_err();
        assert_eq!(fault.subject, VARIABLE);
    }

    #[test]
    fn a_wrong_value_is_refused_with_the_name_of_its_key() {
        for (key, value) in [
            ("state", "\"ip.txt\""),
            ("state", "5"),
            ("state", "\"/\""),
            ("hosts", "\"../h\""),
            ("hosts", "\"/h\\u0000\""),
            ("credentials", "null"),
            ("restart", "\"service\""),
            ("restart", "[\"\"]"),
            ("restart", "[\"bin/x\"]"),
            ("restart", "[1]"),
            ("restart", "[\"true\", \"\\u0000\"]"),
            ("restart_interval", "-1"),
            ("restart_interval", "1.5"),
            ("restart_interval", "3601"),
            ("window", "0"),
            ("window", "\"15\""),
            ("time_zone", "\"CET\""),
            ("lock_timeout", "99999999999"),
            ("expire_after", "-1"),
            ("expire_after", "null"),
            ("expire_after", "\"7d\""),
            ("dyndns2", "true"),
            ("dyndns2", "\"HTTPS\""),
            ("login_in_query", "\"yes\""),
            ("private_addresses", "0"),
            ("status_page", "\"on\""),
            ("status_for", "\"users\""),
            ("status_for", r#"["local"]"#),
            ("status_for", r#"["192.0.2.1/24"]"#),
            ("late_after", "0"),
            ("silent_after", "-1"),
            ("url", "5"),
            ("url", "\"ns.example.net/ip.php\""),
            ("url", "\"https://\""),
            ("url", "\"https:///ip.php\""),
            ("url", "\"ftp://ns.example.net/ip.php\""),
            ("url", "\"https://ns.example.net/ip.php?user=x\""),
            ("url", "\"https://ns.example.net/ip'.php\""),
            ("name_server", "\"localhost:53\""),
            ("name_server", "53"),
            ("publish", "[]"),
            ("publish", r#"{"command": ["x"]}"#),
            ("publish", r#"{"zones": ["a"]}"#),
            ("publish", r#"{"command": [], "zones": ["a"]}"#),
            ("publish", r#"{"command": ["x"], "zones": []}"#),
            ("publish", r#"{"command": ["x"], "zones": ["a b"]}"#),
            ("publish", r#"{"command": ["x"], "zones": "a"}"#),
            ("publish", r#"{"command": ["x"], "zones": ["a"], "server": "localhost"}"#),
            ("publish", r#"{"command": ["x"], "zones": ["a"], "port": 0}"#),
            ("publish", r#"{"command": ["x"], "zones": ["a"], "port": 65536}"#),
            ("publish", r#"{"command": ["x"], "zones": ["a"], "ttl": -1}"#),
            ("publish", r#"{"command": ["x"], "zones": ["a"], "ttl": 2147483648}"#),
            ("publish", r#"{"command": ["x"], "zones": ["a"], "key": "secret"}"#),
            ("Window", "15"),
            ("statte", "\"/s\""),
        ] {
            let error = Config::parse(format!("{{\"{key}\": {value}}}").as_bytes()).unwrap_err();
            assert!(error.contains(&format!("\"{key}\"")), "{key} {value}: {error}");
        }
        for (one, other) in [("state", "hosts"), ("state", "credentials"), ("hosts", "credentials")]
        {
            let text = format!(r#"{{"{one}": "/a", "{other}": "/a"}}"#);
            assert!(Config::parse(text.as_bytes()).unwrap_err().contains("three files"));
        }
        assert!(Config::parse(b"[]").is_err() && Config::parse(b"").is_err());
    }
}
