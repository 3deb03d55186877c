//! `ddnsctl sign`.

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::form::Part;
use ddns_cgi::protocol::signature::{hmac_sha256, sha1, text_of_protocol_1, text_of_protocol_2};
use ddns_cgi::protocol::stamp::Stamp;
use ddns_cgi::protocol::user::{Found, SignaturePolicy, User};
use ddns_cgi::store::credentials::Credentials;
use url::form_urlencoded::Serializer;

use crate::cli::SignOptions;
use crate::names::host_name;
use crate::words::{command, quoted};
use crate::{Report, credentials};

/// The endpoint if neither the command line nor the configuration names one.
const HERE: &str = "http://127.0.0.1/ip.php";

pub fn run(config: &Config, options: &SignOptions) -> Result<Report, Fault> {
    let store = &config.store;
    let fault = |reason: &str| Fault::new(&options.host, reason);
    let host = host_name(&options.host)?;
    let users = credentials::read(&store.credentials)?;
    let name = credentials::owner_of(&users, &host).ok_or_else(|| {
        let give = command(format!("ddnsctl host add USER {host}"));
        fault(&format!("is no user's host; to give it to one: {give}"))
    })?;
    let Found::Known(user) = Credentials::open(store)?.find(name, &[])? else {
        let name = name.escape_default();
        let check = command("ddnsctl check");
        return Err(fault(&format!(
            "the entry of its user {name} is unusable; to see why: {check}"
        )));
    };
    let now = Stamp::at(Utc::now()).ok_or_else(|| fault("the clock shows no usable year"))?;
    let time = now.format(store.time_zone);
    let names = [name, host.as_str(), &time];
    let endpoint = options.url.as_ref().or(config.url.as_ref()).map_or(HERE, String::as_str);
    let query = signed(names, options, &user).map_err(|reason| fault(&reason))?;
    let url = format!("{endpoint}?{query}");
    Ok(Report::good(if options.curl {
        format!("curl --silent --show-error --globoff {}\n", quoted(url))
    } else {
        format!("{url}\n")
    }))
}

/// The signed query for a user's name, a host, a time and the addresses from the options.
fn signed(
    [name, id, time]: [&str; 3],
    options: &SignOptions,
    user: &User,
) -> Result<String, String> {
    let [ip, ip6] = [&options.ip, &options.ip6].map(|ip| ip.as_deref().unwrap_or_default());
    let has_address = !ip.is_empty() || !ip6.is_empty();
    let is_bound = user.signature == SignaturePolicy::HmacSha256;
    let default = if has_address || is_bound { 2 } else { 1 };
    let (part, digits) = match options.protocol.unwrap_or(default) {
        1 if has_address => {
            return Err("protocol 1 signs no address: leave out --protocol 1".to_owned());
        }
        1 if is_bound => {
            return Err(format!(
                "{} may sign only with protocol 2: leave out --protocol 1, or allow it: {}",
                name.escape_default(),
                command(format!("ddnsctl user signature {} any", quoted(name)))
            ));
        }
        1 => (Part::Hash, hex::encode(sha1(&text_of_protocol_1(id, time), &user.key))),
        _ => {
            let code = hmac_sha256(&text_of_protocol_2(name, id, time, ip, ip6), &user.key);
            (Part::Hmac, hex::encode(code.ok_or("belongs to a user whose key is unusable")?))
        }
    };
    let pairs = [(Part::User, name), (Part::Id, id), (Part::TimeSt, time), (Part::Ip, ip)];
    let pairs = pairs.into_iter().chain([(Part::Ip6, ip6), (part, &digits)]);
    let pairs = pairs.filter(|(_, value)| !value.is_empty());
    let pairs = pairs.map(|(part, value)| (part.name(), value));
    Ok(Serializer::new(String::new()).extend_pairs(pairs).finish())
}
