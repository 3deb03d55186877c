//! `ddnsctl check`: examines the installation, one part after the other.

mod clock;
mod copies;
mod credentials;
mod dns;
mod findings;
mod folders;
mod hosts;
mod name_server;
mod names;
mod public;
mod restart;
mod secondaries;
mod silent;
mod state;
mod status_page;
mod updates;
mod web_server;
mod zones;

use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::publish::pending::Mark;
use ddns_cgi::publish::target::Target;
use serde_json::{Map, Value};

use self::findings::Findings;
use self::names::Wanted;
use crate::cli::{CheckOptions, Only};
use crate::credentials::Users;
use crate::web_user::WebUser;
use crate::words::count;
use crate::{Report, progress};

/// Examines the installation of this configuration.
pub fn run(config: Result<Config, Fault>, options: &CheckOptions) -> Report {
    let mut findings = Findings::default();
    let summary = match config {
        Ok(config) => match options.only {
            None => examine(&mut findings, &config, options),
            Some(Only::Silent) => return silent::check(&config, options.json),
        },
        Err(fault) => {
            let advice = "Correct it: until then, all updates are answered with 911.";
            findings.error(fault.subject, fault.reason, advice);
            String::new()
        }
    };
    findings.into_report(options.json, &summary)
}

/// Looks at every part, from the files to the name servers. Returns a summary: how many of each
/// there are.
fn examine(findings: &mut Findings, config: &Config, options: &CheckOptions) -> String {
    progress::step("checking the files");
    let user = web_user(findings, options);
    let user = user.as_ref();
    let users = credentials::check(findings, &config.store, user);
    folders::check(findings, &config.store, user);
    let state = state::check(findings, config, users.as_ref());
    if let Some(users) = &users {
        silent::check_expected(findings, config, users);
    }
    copies::check(findings, &config.store);
    progress::step("checking the restart command");
    restart::check(findings, config, user);
    status_page::check(findings, &config.status);
    progress::step("checking the web server");
    let is_wrong = user.is_some_and(|user| web_server::check(findings, &config.store, user));
    if let Some(url) = config.url.as_ref().filter(|_| !is_wrong) {
        web_server::check_url(findings, url);
    }
    progress::step("checking the hosts file");
    if Target::of(&config.publish).any(|target| target == Target::HostsFile) {
        hosts::check_readers(findings, &config.store.hosts);
    }
    // Without a state, the next update takes it from the hosts file. A pending change has its own
    // finding. The hosts file is up to date as soon as any target is.
    let is_settled = |target| matches!(Mark::of(target, &config.store.hosts).read(), Ok(None));
    let is_any_settled = Target::of(&config.publish).any(is_settled);
    hosts::check(findings, &config.store, state.as_ref().filter(|_| is_any_settled));
    progress::step("checking the name server");
    let publish = &config.publish;
    if let Some(server) = options.server.or(publish.name_server) {
        let wanted = Wanted::of(config, Target::HostsFile);
        name_server::check(findings, server, &wanted, &config.store.hosts);
    }
    progress::step("checking the zones that are public");
    public::check(findings);
    let mut summary = counted(&state.unwrap_or_default(), &users.unwrap_or_default());
    progress::step("checking the name servers of the zones");
    if let Some(zones) = &publish.zones {
        let asked = zones::check(findings, zones, &Wanted::of(config, Target::Zones), user);
        let zones = count(zones.names.len(), "zone");
        let places = if asked == 1 { "1 address".to_owned() } else { format!("{asked} addresses") };
        summary += &format!(", {zones}, asked at {places}");
    }
    progress::step("checking the clock");
    clock::check(findings);
    summary
}

/// How many hosts and users there are.
fn counted(state: &Map<String, Value>, users: &Users) -> String {
    let never = crate::credentials::never_updated(users, state).count();
    let hosts = count(state.len() + never, "host");
    let part = if never == 0 { String::new() } else { format!(" ({never} never updated)") };
    format!("{hosts}{part}, {}", count(users.len(), "user"))
}

/// The web server's user, if this process can find out what that user may do.
fn web_user(findings: &mut Findings, options: &CheckOptions) -> Option<WebUser> {
    let user = WebUser::find(options.web_user.as_deref());
    if user.is_none() {
        let problem = match &options.web_user {
            Some(name) => format!("there is no user {}", name.escape_default()),
            None => "its user is unknown".to_owned(),
        };
        findings.error("web server", problem, "Name its user with --web-user.");
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        let problem = "not run as root, so not everything was checked";
        findings.warning("ddnsctl", problem, "Run ddnsctl as root.");
    }
    user.filter(|_| is_root)
}
