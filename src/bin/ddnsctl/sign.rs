//! `ddnsctl sign`.

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::credentials::{self, Key, Lookup, Signature};
use ddns_cgi::error::{Fault, Part};
use ddns_cgi::host::HostName;
use ddns_cgi::signature::{hmac_sha256, sha1, text_of_protocol_1, text_of_protocol_2};
use ddns_cgi::stamp::Stamp;
use url::form_urlencoded::Serializer;

use crate::cli::SignOptions;
use crate::{Report, users};

/// The parameters of a request.
type Pairs<'p> = Vec<(Part, &'p str)>;

pub fn run(config: &Config, options: &SignOptions) -> Result<Report, Fault> {
    let fault = |reason: &str| Fault::new(&options.host, reason);
    let host = HostName::parse(&options.host).ok_or_else(|| fault("is not a valid host name"))?;
    let users = users::read(&config.credentials)?;
    let (name, _) = users
        .iter()
        .find(|(_, entry)| users::hosts(entry).any(|entry| host.is(entry)))
        .ok_or_else(|| fault("is no user's host; see ddnsctl host add"))?;
    let Lookup::Known(user) = credentials::find(&config.credentials, name, &mut None)? else {
        return Err(fault("belongs to a user whose entry is unusable; see ddnsctl check"));
    };
    let now = Stamp::at(Utc::now()).ok_or_else(|| fault("the clock shows no usable year"))?;
    let time = now.format(config.time_zone);
    let mut pairs =
        vec![(Part::User, name.as_str()), (Part::Id, host.as_str()), (Part::TimeSt, &*time)];
    let addresses: Pairs = [(Part::Ip, &options.ip), (Part::Ip6, &options.ip6)]
        .into_iter()
        .filter_map(|(part, address)| Some((part, address.as_deref()?)))
        .collect();
    let demands_2 = user.signature == Signature::HmacSha256 || !addresses.is_empty();
    let (part, digits) = match options.protocol.unwrap_or(if demands_2 { 2 } else { 1 }) {
        1 if !addresses.is_empty() => return Err(fault("needs --protocol 2 for an address")),
        1 => (Part::Hash, hex::encode(sha1(&text_of_protocol_1(host.as_str(), &time), &user.key))),
        _ => {
            pairs.extend(&addresses);
            (Part::Hmac, hmac(&pairs, &user.key).ok_or_else(|| fault("has an unusable key"))?)
        }
    };
    pairs.push((part, &digits));
    let pairs = pairs.into_iter().map(|(part, value)| (part.name(), value));
    let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
    let url = format!("{}?{query}", options.url);
    Ok(Report::good(if options.curl {
        format!("curl --silent --globoff '{}'\n", url.replace('\'', "'\\''"))
    } else {
        format!("{url}\n")
    }))
}

/// The digits of the HMAC of a request of protocol 2.
fn hmac(pairs: &Pairs, key: &Key) -> Option<String> {
    let value = |part| pairs.iter().find(|(name, _)| *name == part).map_or("", |(_, value)| value);
    let [user, id, time] = [Part::User, Part::Id, Part::TimeSt].map(value);
    let text = text_of_protocol_2(user, id, time, value(Part::Ip), value(Part::Ip6));
    Some(hex::encode(hmac_sha256(&text, key)?))
}
