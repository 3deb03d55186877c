//! The command line.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use ddns_cgi::config;
use ddns_cgi::protocol::claim::NONE;
use ddns_cgi::protocol::prefix::Prefix;
use ddns_cgi::protocol::special::is_identifier;
use ddns_cgi::protocol::user::SignaturePolicy;

use crate::complete;
use crate::interval::Interval;

/// Looks after an installation of ddns-cgi, the dynamic-DNS update endpoint.
///
/// Run it as root, because it reads the credentials. Files that it writes get the right owner.
#[derive(Parser)]
#[command(name = "ddnsctl", version, max_term_width = 100)]
pub struct Arguments {
    /// The configuration file [default: /etc/ddns-cgi/config.json]
    #[arg(long, global = true, value_name = "FILE", env = "DDNS_CONFIG")]
    pub config: Option<PathBuf>,

    /// Does not say what was done, only what was asked for and what went wrong
    #[arg(long, short, global = true)]
    pub quiet: bool,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Examines the installation, and says what to do about each finding
    ///
    /// Looks at the configuration, the credentials, the state, the hosts file, their owners and
    /// modes, the hosts that are overdue, the copies of the RAM disk, the sudo rule, pending
    /// changes, the web server (here, and at the configured URL), the answers of all name servers,
    /// the key for dynamic updates, and the clock. The exit status is for monitoring: 0 if all is
    /// well, 1 with warnings, 2 with errors. With --quiet, it prints nothing if all is well.
    #[command(after_help = "Examples:
  ddnsctl check
  ddnsctl check --only silent --quiet")]
    Check(CheckOptions),

    /// Lists the hosts: addresses, last update, age and owner
    #[command(after_help = "Examples:
  ddnsctl list --stale 3days
  ddnsctl list --state /var/lib/ddns-cgi/copies/copy-0000000007/ip.txt")]
    List(ListOptions),

    /// Adds, removes and lists users, and changes their keys
    #[command(subcommand)]
    User(UserCommand),

    /// Adds, moves, renames and removes hosts, and says what to expect of them
    #[command(subcommand)]
    Host(HostCommand),

    /// Prints a signed request for a host, as a URL or a curl command
    ///
    /// The request is valid for the replay window, 15 seconds by default. It gives the host the
    /// signed address, or else the address of the machine that sends the request. It does not
    /// contain the key.
    #[command(after_help = "Examples:
  sh -c \"$(ddnsctl sign home.example.net --curl)\"
  ddnsctl sign home.example.net --ip 192.0.2.1 --ip6 none")]
    Sign(SignOptions),

    /// Makes the hosts file and the name servers agree with the state
    ///
    /// Restarts dnsmasq, and sends dynamic updates to zones. Run this after you have edited the
    /// state, and from cron if hosts expire. The exit status is 1 if something failed. The next
    /// accepted request or the next apply tries again.
    Apply {
        /// Sends everything to the zones anew, such as after their server was restored
        #[arg(long)]
        all: bool,
    },

    /// Repairs a broken state
    ///
    /// Keeps a copy of the broken state. Takes from it every record that is still readable, and
    /// all other names from the hosts file. Does nothing if the state is not broken.
    Rebuild,

    /// Takes over the files of ip.php
    ///
    /// Checks the files and says what it found. Copies state and credentials unchanged to the paths
    /// in the configuration, and writes the hosts file anew from the state. Never overwrites a
    /// file.
    #[command(after_help = "Examples:
  ddnsctl import --state /OLD/ip.txt --hosts /OLD/hosts.dns \\
    --credentials /OLD/credentials.json")]
    Import(ImportOptions),

    /// Removes hosts from the state and from DNS
    ///
    /// This is for hosts that no user has any more. A host that a user still has comes back with
    /// its next update: use ddnsctl host remove to prevent that.
    #[command(after_help = "Examples:
  ddnsctl forget old.example.net
  ddnsctl forget - < hosts.txt")]
    Forget {
        /// The hosts; a single - reads them from standard input
        #[arg(required = true, value_name = "HOST", add = complete::hosts())]
        hosts: Vec<String>,
    },

    /// Sets a host's interface identifier in the state
    #[command(hide = true)]
    Identify {
        /// The host
        #[arg(add = complete::hosts())]
        host: String,
        /// Its interface identifier
        #[arg(value_parser = identifier)]
        identifier: Ipv6Addr,
    },

    /// Gives a host another name in the state and in DNS
    #[command(hide = true)]
    Rename {
        /// The host
        #[arg(add = complete::hosts())]
        host: String,
        /// Its new name
        new: String,
    },

    /// Writes man pages and shell completions into a folder
    #[command(hide = true)]
    Generate {
        /// The folder, which gets man8 and completions
        folder: PathBuf,
    },
}

/// The error for a missing command lists the commands. Those that only we use are not among them.
pub fn without_hidden(mut error: clap::Error) -> clap::Error {
    let kind = ContextKind::ValidSubcommand;
    if let Some(ContextValue::Strings(names)) = error.remove(kind) {
        let command = Arguments::command();
        let is_hidden =
            |name: &String| command.find_subcommand(name).is_some_and(clap::Command::is_hide_set);
        let names = names.into_iter().filter(|name| !is_hidden(name)).collect();
        error.insert(kind, ContextValue::Strings(names));
    }
    error
}

/// The error for a missing client lists the clients.
pub fn with_clients(mut error: clap::Error) -> clap::Error {
    let is_client = |name: &String| name.starts_with("--for ");
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) if missing.iter().any(is_client) => {
            let tip = format!("the clients are {}", Client::names().join(", "));
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            error
        }
        _ => error,
    }
}

#[derive(Args)]
pub struct CheckOptions {
    /// Prints the findings as JSON
    #[arg(long)]
    pub json: bool,

    /// The user that ddns-cgi runs as [default: www-data, apache or httpd, whichever exists]
    #[arg(long, value_name = "USER")]
    pub web_user: Option<String>,

    /// The name server of the hosts file, at port 53 or another [default: the one in the
    /// configuration]
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = name_server)]
    pub server: Option<SocketAddr>,

    /// Looks at this alone. For a mail from cron, add --quiet
    #[arg(long, value_enum, value_name = "WHAT")]
    pub only: Option<Only>,
}

/// What `check` can look at alone.
#[derive(Clone, Copy, ValueEnum)]
pub enum Only {
    /// The hosts that the status page calls silent, and those that were never updated
    Silent,
}

/// Reads the address of a name server: `127.0.0.1`, `::1`, `[::1]:5353`.
fn name_server(text: &str) -> Result<SocketAddr, &'static str> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = inner.unwrap_or(text).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    ip.or_else(|_| text.parse()).map_err(|_| "give an IP address, such as 127.0.0.1 or [::1]:5353")
}

#[derive(Args)]
pub struct ListOptions {
    /// Lists only hosts that were last updated at least this long ago, such as 2h or 3days
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub stale: Option<Duration>,

    /// Lists this state instead of the configured one, such as a saved copy
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads an age.
fn age(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "give a number with a unit, such as 2h or 3days")
}

#[derive(Subcommand)]
pub enum UserCommand {
    /// Adds a user with a random key of 256 bits, and prints the key
    #[command(after_help = "Examples:
  ddnsctl user add alice --host home.example.net --host nas.example.net
  key=$(ddnsctl --quiet user add bob)")]
    Add {
        /// The user: letters, digits and . _ - + @
        name: String,
        /// A host that the user may update; can be repeated
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// How the user may sign: hmac-sha256 means only with protocol 2
        #[arg(long, value_enum, default_value_t)]
        signature: SignatureChoice,
    },
    /// Removes a user. The user's hosts stay in DNS, unless --hosts is given
    ///
    /// With --hosts, a host that another user has, too, stays. If the command stops halfway, the
    /// user can do nothing any more, and the same command again completes it.
    #[command(after_help = "Examples:
  ddnsctl user remove alice --hosts")]
    Remove {
        /// The user
        #[arg(add = complete::users())]
        name: String,
        /// Removes the user's hosts from the state and from DNS, too
        #[arg(long)]
        hosts: bool,
    },
    /// Lists the users and their hosts. Shows no keys
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Gives a user a new random key, and prints it. The old key stops working at once
    Rekey {
        /// The user
        #[arg(add = complete::users())]
        name: String,
    },
    /// Sets how a user may sign: hmac-sha256 means only with protocol 2
    #[command(after_help = "Examples:
  ddnsctl user signature alice hmac-sha256")]
    Signature {
        /// The user
        #[arg(add = complete::users())]
        name: String,
        /// With any protocol, or only with protocol 2
        signature: SignatureChoice,
    },
    /// Prints what a user's client needs, with the key: a file or a form, ready to paste
    ///
    /// The first line of what it prints says where that goes.
    #[command(after_help = "Examples:
  ddnsctl user config alice --for ip-update
  ddnsctl user config alice --for fritzbox --qr")]
    Config(ClientOptions),
}

#[derive(Args)]
pub struct ClientOptions {
    /// The user
    #[arg(add = complete::users())]
    pub name: String,

    /// The client
    #[arg(long = "for", value_name = "CLIENT", value_enum)]
    pub client: Client,

    /// One of the user's hosts, instead of all; can be repeated
    #[arg(long = "host", value_name = "HOST", add = complete::hosts())]
    pub hosts: Vec<String>,

    /// Where the client reaches the server [default: "url" in the configuration]
    #[arg(long, value_name = "URL", value_parser = config::url)]
    pub url: Option<String>,

    /// Prints the same as a QR code, too, which a phone can read from the terminal
    #[arg(long)]
    pub qr: bool,
}

/// A client that the tool can write the settings of.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// The shell script that comes with ddns-cgi
    IpUpdate,
    /// ddclient, from version 3.10
    Ddclient,
    /// inadyn 2
    Inadyn,
    /// A FRITZ!Box
    Fritzbox,
    /// A command with curl
    Curl,
}

impl Client {
    /// Their names on the command line.
    pub fn names() -> Vec<String> {
        let values = Self::value_variants().iter().filter_map(Self::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect()
    }
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub enum SignatureChoice {
    /// With any protocol
    #[default]
    Any,
    /// Only with protocol 2
    HmacSha256,
}

impl From<SignatureChoice> for SignaturePolicy {
    fn from(choice: SignatureChoice) -> Self {
        match choice {
            SignatureChoice::Any => Self::Any,
            SignatureChoice::HmacSha256 => Self::HmacSha256,
        }
    }
}

#[derive(Subcommand)]
pub enum HostCommand {
    /// Allows a user to update a host, and may set its interface identifier
    #[command(after_help = "Examples:
  ddnsctl host add alice nas.example.net
  ddnsctl host add alice nas.example.net --ip6 ::211:32ff:fe12:3456")]
    Add {
        /// The user
        #[arg(add = complete::users())]
        user: String,
        /// The host
        #[arg(add = complete::hosts())]
        host: String,
        /// Its interface identifier, such as ::211:32ff:fe12:3456
        ///
        /// For a host behind a router that sends the prefix of its network: prefix and identifier
        /// make the host's IPv6 address. The user may have the host already. Until the next prefix
        /// comes, the host has no IPv6 address. If it had one, that leaves DNS.
        #[expect(clippy::doc_markdown, reason = "the help shows backticks")]
        #[arg(long, value_name = "IDENTIFIER", value_parser = identifier)]
        ip6: Option<Ipv6Addr>,
    },
    /// Gives a host to another user. Its addresses stay
    #[command(after_help = "Examples:
  ddnsctl host move nas.example.net bob")]
    Move {
        /// The host
        #[arg(add = complete::hosts())]
        host: String,
        /// The user who is to have it
        #[arg(add = complete::users())]
        user: String,
    },
    /// Gives a host another name. Its addresses and its user stay, and DNS follows
    ///
    /// From then on, its client has to send the new name. If the command stops halfway, the same
    /// command again completes it.
    #[command(after_help = "Examples:
  ddnsctl host rename nas.example.net store.example.net")]
    Rename {
        /// The host
        #[arg(add = complete::hosts())]
        host: String,
        /// Its new name
        new: String,
    },
    /// Says how often a host should be updated, for the status page
    #[command(after_help = "Examples:
  ddnsctl host expect home.example.net 15min
  ddnsctl host expect home.example.net none")]
    Expect {
        /// The host
        #[arg(add = complete::hosts())]
        host: String,
        /// The time between two updates, such as 15min, 6h or 1day, or none
        #[arg(value_parser = Interval::parse)]
        interval: Interval,
    },
    /// Takes a host from its user, and removes it from the state and from DNS
    #[command(
        allow_missing_positional = true,
        after_help = "Examples:
  ddnsctl host remove nas.example.net
  ddnsctl host remove alice nas.example.net"
    )]
    Remove {
        /// The user, if only this one is to lose it [default: whoever has it]
        #[arg(add = complete::users())]
        user: Option<String>,
        /// The host
        #[arg(required = true, add = complete::hosts())]
        host: String,
    },
    /// The same as ddnsctl list
    #[command(hide = true)]
    List(ListOptions),
}

#[derive(Args)]
pub struct SignOptions {
    /// The host
    #[arg(add = complete::hosts())]
    pub host: String,

    /// The protocol [default: 1, or 2 if an address or the user's entry requires it]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub protocol: Option<u8>,

    /// The IPv4 address to sign, or "none" to remove it (protocol 2)
    #[arg(long, value_name = "ADDRESS", value_parser = address_or_none::<Ipv4Addr>)]
    pub ip: Option<String>,

    /// The IPv6 address to sign, PREFIX/LENGTH to move the host to this prefix, or "none" to remove
    /// the address (protocol 2)
    #[arg(long, value_name = "ADDRESS", value_parser = ipv6_prefix_or_none)]
    pub ip6: Option<String>,

    #[expect(clippy::doc_markdown, reason = "the help shows brackets")]
    /// The endpoint [default: "url" in the configuration, or http://127.0.0.1/ip.php]
    #[arg(long, value_name = "URL", value_parser = config::url)]
    pub url: Option<String>,

    /// Prints a curl command instead of the URL
    #[arg(long)]
    pub curl: bool,
}

fn address_or_none<A: FromStr + ToString>(text: &str) -> Result<String, A::Err> {
    if text == NONE { Ok(text.to_owned()) } else { Ok(text.parse::<A>()?.to_string()) }
}

fn ipv6_prefix_or_none(text: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
    if text.contains('/') {
        return Ok(Prefix::parse(text)?.to_string());
    }
    Ok(address_or_none::<Ipv6Addr>(text)?)
}

/// Reads an interface identifier. The error says what to give instead.
fn identifier(text: &str) -> Result<Ipv6Addr, Box<dyn Error + Send + Sync>> {
    if text.contains('/') {
        return Err("is more than an identifier: give it without the slash and the length".into());
    }
    let address = match text.parse::<IpAddr>()?.to_canonical() {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => {
            let advice = "is an IPv4 address: only IPv6 addresses have an interface identifier";
            return Err(advice.into());
        }
    };
    if is_identifier(address) {
        return Ok(address);
    }
    let [.., a, b, c, d] = address.segments();
    let rest = Ipv6Addr::new(0, 0, 0, 0, a, b, c, d);
    if !is_identifier(rest) {
        // Of its last 64 bits alone, nobody could say whether they wait for a prefix.
        let advice = "cannot wait for a prefix: let the host report its whole address once";
        return Err(advice.into());
    }
    Err(format!(
        "is a whole address: let the host report it, or give its interface identifier, \
         which is {rest} if its prefix has 64 bits"
    )
    .into())
}

#[derive(Args)]
pub struct ImportOptions {
    /// The ip.txt of ip.php
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,

    /// The hosts file of ip.php
    #[arg(long, value_name = "FILE")]
    pub hosts: PathBuf,

    /// The credentials of ip.php
    #[arg(long, value_name = "FILE")]
    pub credentials: PathBuf,

    /// Only says what it would do
    #[arg(long)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has no description, in a command and in those below it.
    fn silent(command: &clap::Command) -> Vec<String> {
        let arguments = command.get_arguments().filter(|argument| argument.get_help().is_none());
        let own =
            arguments.map(|argument| format!("{}: {}", command.get_name(), argument.get_id()));
        let below = command.get_subcommands().filter(|below| below.get_about().is_none());
        let below = below.map(|below| below.get_name().to_owned());
        own.chain(below).chain(command.get_subcommands().flat_map(silent)).collect()
    }

    #[test]
    fn every_command_and_argument_has_a_description() {
        let command = Arguments::command();
        command.clone().debug_assert();
        assert_eq!(silent(&command), [] as [String; 0]);
    }

    #[test]
    fn the_user_of_a_host_to_remove_may_be_left_out() {
        for (words, expected) in [(&["h"][..], (None, "h")), (&["u", "h"], (Some("u"), "h"))] {
            let words = ["ddnsctl", "host", "remove"].iter().chain(words);
            let Command::Host(HostCommand::Remove { user, host }) =
                Arguments::try_parse_from(words).unwrap().command
            else {
                panic!("another command");
            };
            assert_eq!((user.as_deref(), host.as_str()), expected);
        }
    }

    #[test]
    fn no_hidden_command_is_offered() {
        let error = Arguments::try_parse_from(["ddnsctl", "--quiet"]).err().unwrap();
        assert!(error.to_string().contains("identify"), "{error}");
        let text = without_hidden(error).to_string();
        assert!(text.contains("forget, import") || text.contains("forget, "), "{text}");
        for hidden in ["identify", "rename", "generate"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}
