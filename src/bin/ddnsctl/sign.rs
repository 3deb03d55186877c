//! `ddnsctl sign`.

use chrono::Utc;
use ddns_cgi::auth;
use ddns_cgi::config::Config;
use ddns_cgi::credentials::{Credentials, Lookup};
use ddns_cgi::error::Fault;
use ddns_cgi::host::HostName;
use ddns_cgi::stamp::Stamp;
use url::form_urlencoded::Serializer;

use crate::cli::SignOptions;
use crate::{Report, users};

pub fn run(config: &Config, options: &SignOptions) -> Result<Report, Fault> {
    let fault = |reason: &str| Fault::new(&options.host, reason);
    let host = HostName::parse(&options.host).ok_or_else(|| fault("is not a valid host name"))?;
    let users = users::read(&config.credentials)?;
    let (name, _) = users
        .iter()
        .find(|(_, entry)| users::hosts(entry).any(|entry| host.is(entry)))
        .ok_or_else(|| fault("is no user's host; see ddnsctl host add"))?;
    let Lookup::Known(user) = Credentials::open(config)?.find(name)? else {
        return Err(fault("belongs to a user whose entry is unusable; see ddnsctl check"));
    };
    let now = Stamp::at(Utc::now()).ok_or_else(|| fault("the clock shows no usable year"))?;
    let time = now.format(config.time_zone);
    let hash = hex::encode(auth::hash(host.as_str(), &time, &user.key));
    let query = Serializer::new(String::new())
        .append_pair("user", name)
        .append_pair("id", host.as_str())
        .append_pair("timeST", &time)
        .append_pair("hash", &hash)
        .finish();
    let url = format!("{}?{query}", options.url);
    Ok(Report::good(if options.curl {
        format!("curl --silent --globoff '{}'\n", url.replace('\'', "'\\''"))
    } else {
        format!("{url}\n")
    }))
}
