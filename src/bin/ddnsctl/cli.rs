//! The command line.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ddns_cgi::protocol::claim::NONE;
use ddns_cgi::protocol::prefix::Prefix;
use ddns_cgi::protocol::special::is_identifier;
use ddns_cgi::protocol::user::SignaturePolicy;

/// Looks after an installation of ddns-cgi, the dynamic-DNS update endpoint.
///
/// Run it as root, because it reads the credentials. Files that it writes get the right owner.
#[derive(Parser)]
#[command(name = "ddnsctl", version, max_term_width = 100)]
pub struct Arguments {
    /// The configuration file [default: /etc/ddns-cgi/config.json]
    #[arg(long, global = true, value_name = "FILE", env = "DDNS_CONFIG")]
    pub config: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Examines the installation, and says what to do about each finding
    ///
    /// Looks at the configuration, the credentials, the state, the hosts file, their owners and
    /// modes, the sudo rule, pending changes, the answers of all name servers, the key for dynamic
    /// updates, and the clock. The exit status is for monitoring: 0 if all is well, 1 with
    /// warnings, 2 with errors.
    Check(CheckOptions),

    /// Lists the hosts: addresses, last update, age and owner
    List(ListOptions),

    /// Adds, removes and lists users, and changes their keys
    #[command(subcommand)]
    User(UserCommand),

    /// Gives a user a host, sets the host's interface identifier, or removes the host
    #[command(subcommand)]
    Host(HostCommand),

    /// Prints a signed request for a host, as a URL or a curl command
    ///
    /// The request is valid for the replay window, 15 seconds by default. It gives the host the
    /// signed address, or else the address of the machine that sends the request. It does not
    /// contain the key.
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
    Import(ImportOptions),

    /// Removes a host from the state and from DNS
    #[command(hide = true)]
    Forget { host: String },

    /// Sets a host's interface identifier in the state
    #[command(hide = true)]
    Identify {
        host: String,
        #[arg(value_parser = identifier)]
        identifier: Ipv6Addr,
    },

    /// Writes man pages and shell completions into a folder
    #[command(hide = true)]
    Generate { folder: PathBuf },
}

#[derive(Args)]
pub struct CheckOptions {
    /// Prints the findings as JSON
    #[arg(long)]
    pub json: bool,

    /// The user that ddns-cgi runs as [default: www-data, apache or httpd, whichever exists]
    #[arg(long, value_name = "USER")]
    pub web_user: Option<String>,

    /// The name server of the hosts file [default: the one in the configuration]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub server: Option<std::net::SocketAddr>,
}

#[derive(Args)]
pub struct ListOptions {
    /// Lists only hosts that were last updated at least this long ago, such as 2h or 3days
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    pub stale: Option<Duration>,

    /// Lists this state instead of the configured one, such as a saved copy
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum UserCommand {
    /// Adds a user with a random key of 256 bits, and prints the key
    Add {
        name: String,
        /// A host that the user may update; can be repeated
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// How the user may sign: hmac-sha256 means only with protocol 2
        #[arg(long, value_enum, default_value_t)]
        signature: SignatureChoice,
    },
    /// Removes a user. The user's hosts stay in DNS
    ///
    /// To remove these, too, first run ddnsctl host remove for each.
    Remove { name: String },
    /// Lists the users and their hosts. Shows no keys
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Gives a user a new random key, and prints it. The old key stops working at once
    Rekey { name: String },
    /// Sets how a user may sign: hmac-sha256 means only with protocol 2
    Signature { name: String, signature: SignatureChoice },
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
    Add {
        user: String,
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
    /// Takes a host from its user, and removes it from the state and from DNS
    Remove { user: String, host: String },
}

#[derive(Args)]
pub struct SignOptions {
    /// The host
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

    /// The endpoint
    #[arg(long, default_value = "http://127.0.0.1/ip.php")]
    pub url: String,

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
