//! `ddnsctl check`: examines the installation, one part after the other.

mod clock;
mod credentials;
mod dns;
mod findings;
mod folders;
mod hosts;
mod name_server;
mod names;
mod progress;
mod public;
mod restart;
mod secondaries;
mod state;
mod status_page;
mod updates;
mod web_server;
mod zones;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::publish::pending::Mark;
use ddns_cgi::publish::target::Target;
use ddns_cgi::store::expiry::Expiry;
use serde_json::Map;

use self::findings::Findings;
use self::names::Wanted;
use crate::Report;
use crate::cli::CheckOptions;
use crate::web_user::WebUser;

/// Examines the installation of this configuration.
pub fn run(config: Result<Config, Fault>, options: &CheckOptions) -> Report {
    let mut findings = Findings::default();
    let progress = progress::show();
    let summary = match config {
        Ok(config) => examine(&mut findings, &config, options),
        Err(fault) => {
            let advice = "All updates are answered with 911 until then";
            findings.error(fault.subject, fault.reason, advice);
            String::new()
        }
    };
    drop(progress);
    findings.into_report(options.json, &summary)
}

/// Looks at every part, from the files to the name servers. Returns a summary: how many of each
/// there are.
fn examine(findings: &mut Findings, config: &Config, options: &CheckOptions) -> String {
    progress::step("the files");
    let user = web_user(findings, options);
    let user = user.as_ref();
    let users = credentials::check(findings, &config.store, user);
    folders::check(findings, &config.store, user);
    let state = state::check(findings, config, users.as_ref());
    progress::step("the restart command");
    restart::check(findings, config, user);
    status_page::check(findings, &config.status);
    progress::step("the web server");
    if let Some(user) = user {
        web_server::check(findings, &config.store, user);
    }
    progress::step("the hosts file");
    if Target::of(&config.publish).any(|target| target == Target::HostsFile) {
        hosts::check_readers(findings, &config.store.hosts);
    }
    // Without a state, the next update takes it from the hosts file. A pending change has its own
    // finding. The hosts file is up to date as soon as any target is.
    let is_settled = |target| matches!(Mark::of(target, &config.store.hosts).read(), Ok(None));
    let is_any_settled = Target::of(&config.publish).any(is_settled);
    if let Some(state) = state.as_ref().filter(|_| is_any_settled) {
        let expiry = Expiry::at(Utc::now(), &config.store);
        hosts::check(findings, &config.store, state, &expiry);
    }
    progress::step("the name server");
    let publish = &config.publish;
    if let Some(server) = options.server.or(publish.name_server) {
        let wanted = Wanted::of(config, Target::HostsFile);
        name_server::check(findings, server, &wanted, &config.store.hosts);
    }
    progress::step("the zones that are public");
    public::check(findings);
    let [hosts, users] = [&state, &users].map(|map| map.as_ref().map_or(0, Map::len));
    let mut summary = format!("{hosts} hosts, {users} users");
    progress::step("the name servers of the zones");
    if let Some(zones) = &publish.zones {
        let asked = zones::check(findings, zones, &Wanted::of(config, Target::Zones), user);
        summary += &format!(", {} zones, asked at {asked} addresses", zones.names.len());
    }
    progress::step("the clock");
    clock::check(findings);
    summary
}

/// The web server's user, if this process can find out what that user may do.
fn web_user(findings: &mut Findings, options: &CheckOptions) -> Option<WebUser> {
    let user = WebUser::find(options.web_user.as_deref());
    if user.is_none() {
        findings.error("web server", "its user is unknown", "Name it with --web-user");
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        let problem = "not run as root, so not everything was checked";
        findings.warning("ddnsctl", problem, "Run it as root");
    }
    user.filter(|_| is_root)
}
