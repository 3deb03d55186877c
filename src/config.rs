//! The operator's settings: one JSON object in the file that `DDNS_CONFIG` names.
//!
//! Each room has its own group of settings.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::fault::{Fault, json_position};
use crate::protocol::dyndns2::Dyndns2;
use crate::protocol::stamp::Zone;

/// The environment variable that names the configuration file (Apache: `SetEnv`).
pub const VARIABLE: &str = "DDNS_CONFIG";

/// The configuration file if the variable is not set. If the file is missing, all defaults apply.
const DEFAULT_FILE: &str = "/etc/ddns-cgi/config.json";

/// The folders in which the program looks for a command without a path.
pub const COMMAND_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

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
}

/// Which requests the server believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The replay window: how many seconds a stamp may differ from the clock, either way.
    pub window: u64,
    /// Which connections may use dyndns2.
    pub dyndns2: Dyndns2,
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
    pub time_zone: Zone,
    /// How many seconds a request waits for the lock on the state.
    pub lock_timeout: u32,
    /// The seconds without an update after which a host leaves DNS; 0 for never.
    pub expire_after: u64,
}

/// How the name server learns of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The command that makes dnsmasq read the hosts file; empty for none.
    pub restart: Vec<String>,
    /// The shortest time between the starts of two restarts, in seconds.
    pub restart_interval: u32,
}

/// The status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the server shows the page.
    pub page: bool,
    /// How many seconds after its last update a host counts as late.
    pub late_after: u64,
    /// How many seconds after its last update a host counts as silent.
    pub silent_after: u64,
}

impl Default for Protocol {
    fn default() -> Self {
        Self { window: 15, dyndns2: Dyndns2::Https }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            state: "/media/data/www/ramcache/ip.txt".into(),
            hosts: "/media/data/www/ramcache/hosts.dns".into(),
            credentials: "/etc/ddns-cgi/credentials.json".into(),
            time_zone: Zone::Utc,
            lock_timeout: 5,
            expire_after: 0,
        }
    }
}

impl Default for Publish {
    fn default() -> Self {
        let restart = ["sudo", "-n", "service", "dnsmasq", "restart"];
        Self { restart: restart.map(String::from).into(), restart_interval: 3 }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self { page: false, late_after: 3600, silent_after: 24 * 3600 }
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
    fn set(&mut self, key: &str, value: &Value) -> Result<(), &'static str> {
        match key {
            "state" => self.store.state = file(value)?,
            "hosts" => self.store.hosts = file(value)?,
            "credentials" => self.store.credentials = file(value)?,
            "restart" => self.publish.restart = command(value)?,
            "restart_interval" => self.publish.restart_interval = seconds(value)?,
            "window" => self.protocol.window = positive(value)?,
            "time_zone" => self.store.time_zone = zone(value)?,
            "lock_timeout" => self.store.lock_timeout = seconds(value)?,
            "expire_after" => self.store.expire_after = any_seconds(value)?,
            "dyndns2" => self.protocol.dyndns2 = dyndns2(value)?,
            "status_page" => self.status.page = value.as_bool().ok_or("must be true or false")?,
            "late_after" => self.status.late_after = positive(value)?,
            "silent_after" => self.status.silent_after = positive(value)?,
            _ => return Err("is unknown: correct its spelling or remove it"),
        }
        Ok(())
    }
}

fn file(value: &Value) -> Result<PathBuf, &'static str> {
    value
        .as_str()
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.file_name().is_some())
        .filter(|path| !path.as_os_str().as_encoded_bytes().contains(&0))
        .ok_or("must be the absolute path of a file")
}

fn zone(value: &Value) -> Result<Zone, &'static str> {
    match value.as_str() {
        Some("UTC") => Ok(Zone::Utc),
        Some("local") => Ok(Zone::Local),
        _ => Err("must be \"UTC\" or \"local\""),
    }
}

fn dyndns2(value: &Value) -> Result<Dyndns2, &'static str> {
    match value.as_str() {
        Some("off") => Ok(Dyndns2::Off),
        Some("https") => Ok(Dyndns2::Https),
        Some("any") => Ok(Dyndns2::Any),
        _ => Err("must be \"off\", \"https\" or \"any\""),
    }
}

fn any_seconds(value: &Value) -> Result<u64, &'static str> {
    value.as_u64().ok_or("must be a whole number of seconds")
}

fn positive(value: &Value) -> Result<u64, &'static str> {
    value
        .as_u64()
        .filter(|seconds| *seconds > 0)
        .ok_or("must be a positive whole number of seconds")
}

/// At most an hour. More must be a mistake, and would keep changes or clients waiting.
fn seconds(value: &Value) -> Result<u32, &'static str> {
    value
        .as_u64()
        .and_then(|seconds| u32::try_from(seconds).ok())
        .filter(|seconds| *seconds <= 3600)
        .ok_or("must be a whole number of seconds from 0 to 3600")
}

fn command(value: &Value) -> Result<Vec<String>, &'static str> {
    const NEED: &str =
        "must be a list of strings: a bare name or an absolute path, then its arguments";
    let words = value.as_array().ok_or(NEED)?;
    let words: Vec<String> = words
        .iter()
        .map(|word| word.as_str().filter(|word| !word.contains('\0')).map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or(NEED)?;
    match words.first() {
        Some(program) if program.is_empty() => Err(NEED),
        Some(program) if program.contains('/') && !program.starts_with('/') => Err(NEED),
        _ => Ok(words),
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
            "dyndns2": "any", "expire_after": 604800, "status_page": true,
            "late_after": 2, "silent_after": 3}"#;
        let config = Config::parse(text).unwrap();
        assert_eq!(config.store.state, Path::new("/s"));
        assert_eq!(config.store.hosts, Path::new("/h"));
        assert_eq!(config.store.credentials, Path::new("/c"));
        assert!(config.publish.restart.is_empty());
        assert_eq!(config.publish.restart_interval, 0);
        assert_eq!(config.protocol.window, 999_999_999_999);
        assert_eq!(config.store.time_zone, Zone::Local);
        assert_eq!(config.store.lock_timeout, 1);
        assert_eq!(config.store.expire_after, 604_800);
        assert_eq!(config.protocol.dyndns2, Dyndns2::Any);
        assert!(config.status.page);
        assert_eq!((config.status.late_after, config.status.silent_after), (2, 3));
    }

    #[test]
    fn each_word_and_each_bound_is_a_value() {
        let with = |text: &str| Config::parse(text.as_bytes()).unwrap();
        assert_eq!(with(r#"{"time_zone": "UTC"}"#).store.time_zone, Zone::Utc);
        assert_eq!(with(r#"{"dyndns2": "off"}"#).protocol.dyndns2, Dyndns2::Off);
        assert_eq!(with(r#"{"dyndns2": "https"}"#).protocol.dyndns2, Dyndns2::Https);
        assert_eq!(with(r#"{"restart_interval": 3600}"#).publish.restart_interval, 3600);
        assert_eq!(with(r#"{"window": 1}"#).protocol.window, 1);
        assert_eq!(with(r#"{"restart": ["true", ""]}"#).publish.restart, ["true", ""]);
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
            ("status_page", "\"on\""),
            ("late_after", "0"),
            ("silent_after", "-1"),
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
