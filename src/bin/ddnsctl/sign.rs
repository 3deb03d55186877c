//! `ddnsctl sign`.

use chrono::Utc;
use ddns_cgi::config::Store;
use ddns_cgi::fault::Fault;
use ddns_cgi::protocol::form::Part;
use ddns_cgi::protocol::signature::{hmac_sha256, sha1, text_of_protocol_1, text_of_protocol_2};
use ddns_cgi::protocol::stamp::Stamp;
use ddns_cgi::protocol::user::{Found, SignaturePolicy, User};
use ddns_cgi::store::credentials::Credentials;
use url::form_urlencoded::Serializer;

use crate::cli::SignOptions;
use crate::forget::host_name;
use crate::{Report, credentials};

pub fn run(store: &Store, options: &SignOptions) -> Result<Report, Fault> {
    let fault = |reason: &str| Fault::new(&options.host, reason);
    let host = host_name(&options.host)?;
    let users = credentials::read(&store.credentials)?;
    let name = credentials::owner_of(&users, &host)
        .ok_or_else(|| fault("is no user's host; see ddnsctl host add"))?;
    let Found::Known(user) = Credentials::open(store)?.find(name, &[])? else {
        return Err(fault("belongs to a user whose entry is unusable; see ddnsctl check"));
    };
    let now = Stamp::at(Utc::now()).ok_or_else(|| fault("the clock shows no usable year"))?;
    let time = now.format(store.time_zone);
    let names = [name, host.as_str(), &time];
    let url = format!("{}?{}", options.url, signed(names, options, &user).map_err(fault)?);
    Ok(Report::good(if options.curl {
        format!("curl --silent --globoff '{}'\n", url.replace('\'', "'\\''"))
    } else {
        format!("{url}\n")
    }))
}

/// The signed query for a user's name, a host, a time and the addresses from the options.
fn signed(
    [name, id, time]: [&str; 3],
    options: &SignOptions,
    user: &User,
) -> Result<String, &'static str> {
    let [ip, ip6] = [&options.ip, &options.ip6].map(|ip| ip.as_deref().unwrap_or_default());
    let has_address = !ip.is_empty() || !ip6.is_empty();
    let demands_2 = has_address || user.signature == SignaturePolicy::HmacSha256;
    let (part, digits) = match options.protocol.unwrap_or(if demands_2 { 2 } else { 1 }) {
        1 if has_address => return Err("needs --protocol 2, since protocol 1 signs no address"),
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
