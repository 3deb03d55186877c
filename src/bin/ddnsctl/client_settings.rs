//! `ddnsctl user config`: what a client needs, ready to paste.
//!
//! `docs/clients.md` shows the same; `tests/endpoint/settings.rs` compares them.

use ddns_cgi::config::{Config, DEFAULT_FILE};
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::claim::MAX_HOSTS;
use ddns_cgi::protocol::dyndns2::Dyndns2;
use ddns_cgi::protocol::host::HostName;
use ddns_cgi::protocol::user::{self, SignaturePolicy};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::Value;

use crate::cli::{Client, ClientOptions};
use crate::names::no_user;
use crate::words::{command, count, quoted};
use crate::{Report, credentials};

pub fn run(config: &Config, options: &ClientOptions) -> Result<Report, Fault> {
    let (path, name) = (&config.store.credentials, &options.name);
    let users = credentials::read(path)?;
    let entry = users.get(name).ok_or_else(|| Fault::new(path.display(), no_user(&users, name)))?;
    let client = options.client;
    let url = url(config, options)?;
    if client != Client::IpUpdate {
        check_dyndns2(config, &url)?;
    }
    let (hosts, key) =
        login(entry, options).map_err(|reason| Fault::new(name.escape_default(), reason))?;
    let settings = Settings { url: &url, user: name, key, hosts };
    let mut text = settings.text(client);
    if options.qr {
        let reason = "the settings are too long for a QR code: choose fewer hosts with --host";
        let code = qr_code(&text).ok_or_else(|| Fault::new("--qr", reason))?;
        text += &format!("# The same as a QR code:\n{code}");
    }
    Ok(Report::good(text))
}

/// Where the client reaches the server.
fn url(config: &Config, options: &ClientOptions) -> Result<String, Fault> {
    let url = options.url.as_ref().or(config.url.as_ref());
    // What clients append begins with a slash.
    url.map(|url| url.trim_end_matches('/').to_owned()).ok_or_else(|| {
        let reason = "does not say where clients reach this server: give --url \
                      https://SERVER/ip.php, or write \"url\": \"https://SERVER/ip.php\" into it";
        Fault::new(file_of(config), reason)
    })
}

/// The configuration file.
fn file_of(config: &Config) -> String {
    config.file.as_ref().map_or(DEFAULT_FILE.to_owned(), |file| file.display().to_string())
}

/// Whether the server takes dyndns2 at this URL.
fn check_dyndns2(config: &Config, url: &str) -> Result<(), Fault> {
    match config.protocol.dyndns2.served {
        Dyndns2::Off => {
            let reason = "\"dyndns2\" is \"off\", so the server refuses this client: choose --for \
                          ip-update, or remove \"dyndns2\" from this file";
            Err(Fault::new(file_of(config), reason))
        }
        Dyndns2::Https if !url.starts_with("https://") => {
            let reason = "this client would send its key unencrypted, which the server refuses: \
                          give the URL with https://, or choose --for ip-update";
            Err(Fault::new(url, reason))
        }
        Dyndns2::Https | Dyndns2::Any => Ok(()),
    }
}

/// The hosts and the key of the user, if the client can use them. The error says what to do.
fn login<'u>(
    entry: &'u Value,
    options: &ClientOptions,
) -> Result<(Vec<HostName>, &'u str), String> {
    let name = &options.name;
    let policy = credentials::policy(entry).map_err(|why| {
        format!("has an unusable entry in the credentials: {why}; correct it there")
    })?;
    let key = entry.get(user::KEY).and_then(Value::as_str).unwrap_or_default();
    let is_dyndns2 = options.client != Client::IpUpdate;
    let word = quoted(name);
    if is_dyndns2 && policy == SignaturePolicy::HmacSha256 {
        return Err(format!(
            "may sign only with hmac-sha256, and this client cannot; choose --for ip-update, or \
             run {}",
            command(format!("ddnsctl user signature {word} any"))
        ));
    }
    if !options.client.carries_name(name) {
        let reason = "has characters in the name that this client cannot send: give the hosts to \
                      another user with ddnsctl user add";
        return Err(reason.to_owned());
    }
    if !options.client.carries_key(key) {
        return Err(format!(
            "has characters in the key that this client cannot read; for a new key: {}",
            command(format!("ddnsctl user rekey {word}"))
        ));
    }
    let hosts = chosen(entry, &options.hosts)?;
    if hosts.is_empty() {
        let next = command(format!("ddnsctl host add {word} HOST"));
        return Err(format!("has no host; next: {next}"));
    }
    // inadyn sends a request for each host.
    if hosts.len() > MAX_HOSTS && options.client != Client::Inadyn {
        return Err(format!(
            "has {}, and a request can name {MAX_HOSTS}: choose some with --host",
            count(hosts.len(), "host")
        ));
    }
    Ok((hosts, key))
}

/// Those of the user's hosts that were asked for, in that order, or all. Each once.
fn chosen(entry: &Value, asked: &[String]) -> Result<Vec<HostName>, String> {
    let owned: Vec<&str> = credentials::hosts(entry).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let mut hosts = Vec::new();
    for name in if asked.is_empty() { &owned } else { &asked } {
        let shown = name.escape_default();
        if !owned.iter().any(|host| host.eq_ignore_ascii_case(name)) {
            let list = command("ddnsctl user list");
            return Err(format!("has no host {shown}; to see the hosts: {list}"));
        }
        let host = HostName::parse(name).ok_or_else(|| {
            format!("has a host whose name is not valid, {shown}: choose others with --host")
        })?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

/// Draws a text for a terminal with any colours: dark modules on light ones.
fn qr_code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    // What a terminal leaves out is dark.
    let drawing =
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let lines: Vec<String> =
        drawing.lines().map(|line| format!("\x1b[97;40m{line}\x1b[0m\n")).collect();
    Some(lines.concat())
}

impl Client {
    /// Whether this client's file or form, and its requests, can have the user's name.
    fn carries_name(self, name: &str) -> bool {
        match self {
            Self::IpUpdate => !name.contains(|c: char| c.is_control() || "\"\\".contains(c)),
            // HTTP Basic ends the name at the first colon (RFC 7617).
            Self::Fritzbox => name.chars().all(|c| c.is_ascii_graphic() && c != ':'),
            Self::Curl | Self::Ddclient | Self::Inadyn => {
                name.chars().all(|c| c.is_ascii_alphanumeric() || "-._+@".contains(c))
            }
        }
    }

    /// Whether this client's file or form can have the user's key.
    fn carries_key(self, key: &str) -> bool {
        match self {
            Self::IpUpdate => !key.contains(char::is_control),
            Self::Fritzbox => key.chars().all(|c| c.is_ascii_graphic()),
            Self::Curl | Self::Ddclient | Self::Inadyn => {
                key.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!*+/:;@^?|".contains(c))
            }
        }
    }
}

/// What every client has to know.
struct Settings<'s> {
    /// Without a final slash.
    url: &'s str,
    user: &'s str,
    key: &'s str,
    hosts: Vec<HostName>,
}

impl Settings<'_> {
    /// The file or form of a client. Its first line says where it goes.
    fn text(&self, client: Client) -> String {
        match client {
            Client::IpUpdate => self.ip_update(),
            Client::Ddclient => self.ddclient(),
            Client::Inadyn => self.inadyn(),
            Client::Fritzbox => self.fritzbox(),
            Client::Curl => self.curl(),
        }
    }

    fn ip_update(&self) -> String {
        let Self { url, user, key, hosts } = self;
        let hosts: Vec<String> = hosts.iter().map(|host| format!("host={host}\n")).collect();
        let hosts = hosts.concat();
        format!(
            "# /etc/ip-update.conf on the client, mode 0600: it has the key\n\
             url={url}\nuser={user}\nkey={key}\n{hosts}protocol=2\n"
        )
    }

    fn ddclient(&self) -> String {
        let Self { url, user, key, .. } = self;
        let [scheme, server] = self.server();
        let (ssl, needs) = match scheme {
            "https" => (
                "yes",
                "# ddclient 3.10 (Debian 12) needs: apt-get install libio-socket-ssl-perl\n",
            ),
            _ => ("no", ""),
        };
        let hosts = self.list();
        format!(
            "# /etc/ddclient.conf on the client, mode 0600: it has the key\n\
             {needs}\
             # Then: systemctl restart ddclient\n\
             daemon=300\nssl={ssl}\n\
             use=web, web={url}/ip\n\
             # From 3.11 on, ddclient can send IPv4 and IPv6, with these in the place of use=:\n\
             #usev4=webv4, webv4={url}/ip\n\
             #usev6=webv6, webv6={url}/ip\n\
             protocol=dyndns2\nserver={server}\nlogin={user}\npassword='{key}'\n{hosts}\n"
        )
    }

    fn inadyn(&self) -> String {
        let Self { url, user, key, hosts } = self;
        let [scheme, server] = self.server();
        let path = url.strip_prefix(&format!("{scheme}://{server}")).unwrap_or_default();
        let ssl = match scheme {
            "https" => "",
            _ => "    ssl            = false\n    checkip-ssl    = false\n",
        };
        let hosts = match &hosts[..] {
            [host] => host.to_string(),
            hosts => {
                let hosts: Vec<String> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
                format!("{{ {} }}", hosts.join(", "))
            }
        };
        format!(
            "# /etc/inadyn.conf on the client, mode 0600: it has the key\n\
             period = 300\n\
             custom ddns-cgi {{\n\
             {ssl}\
             \x20   username       = \"{user}\"\n\
             \x20   password       = \"{key}\"\n\
             \x20   hostname       = {hosts}\n\
             \x20   ddns-server    = {server}\n\
             \x20   ddns-path      = \"/nic/update?hostname=%h&myip=%i\"\n\
             \x20   checkip-server = {server}\n\
             \x20   checkip-path   = {path}/ip\n\
             }}\n"
        )
    }

    fn fritzbox(&self) -> String {
        let Self { user, key, hosts, .. } = self;
        let [scheme, server] = self.server();
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        let (first, others) = names.split_first().unwrap_or((&"", &[]));
        let (mut note, mut list, mut prefix) = ("", String::new(), "");
        if !others.is_empty() {
            note = "# The domain name is that of the box itself; the other hosts are behind it\n";
            list = format!(",{}", others.join(","));
            prefix = "&ip6lanprefix=<ip6lanprefix>";
        }
        format!(
            "# FRITZ!Box: Internet, Permit Access, DynDNS, provider User-defined\n{note}\
             Update URL: {scheme}://{server}/nic/update?hostname=<domain>{list}\
             &myip=<ipaddr>&myipv6=<ip6addr>{prefix}\n\
             Domain name: {first}\nUsername: {user}\nPassword: {key}\n"
        )
    }

    fn curl(&self) -> String {
        let [scheme, server] = self.server();
        let (key, hosts) = (quoted(self.key), self.list());
        format!(
            "# In a shell on the client, or in a script of mode 0700: it has the key\n\
             printf 'user = \"{}:%s\"\\n' {key} | \
             curl -sS -K - '{scheme}://{server}/nic/update?hostname={hosts}'\n",
            self.user
        )
    }

    /// The scheme and the server in the URL. The path of dyndns2 is on the same server.
    fn server(&self) -> [&str; 2] {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("https", self.url));
        [scheme, rest.split('/').next().unwrap_or(rest)]
    }

    /// The hosts, separated by commas.
    fn list(&self) -> String {
        self.hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(",")
    }
}
