//! `ddnsctl check`: examines the installation, one part after the other.

mod apache;
mod clock;
mod credentials;
mod dns;
mod dnsmasq;
mod findings;
mod folders;
mod hosts;
mod public;
mod restart;
mod state;

use chrono::Utc;
use ddns_cgi::config::Config;
use ddns_cgi::fault::Fault;
use ddns_cgi::publish::pending;
use ddns_cgi::store::expiry::Expiry;

use self::findings::Findings;
use crate::Report;
use crate::cli::CheckOptions;
use crate::web_user::WebUser;

/// Examines the installation of this configuration.
pub fn run(config: Result<Config, Fault>, options: &CheckOptions) -> Report {
    let mut findings = Findings::default();
    let summary = match config {
        Ok(config) => examine(&mut findings, &config, options),
        Err(fault) => {
            let advice = "All updates are answered with 911 until then";
            findings.error(fault.subject, fault.reason, advice);
            String::new()
        }
    };
    findings.into_report(options.json, &summary)
}

/// Looks at every part. Returns a summary: how many hosts and users there are.
fn examine(findings: &mut Findings, config: &Config, options: &CheckOptions) -> String {
    let user = web_user(findings, options);
    let user = user.as_ref();
    let users = credentials::check(findings, &config.store, user);
    folders::check(findings, &config.store, user);
    let state = state::check(findings, config, users.as_ref());
    restart::check(findings, config, user);
    apache::check(findings, &config.status);
    // Without a state, the next update takes it from the hosts file. A pending change has its own
    // finding.
    let is_settled = matches!(pending::is_settled(config), Ok(true));
    if let Some(state) = state.as_ref().filter(|_| is_settled) {
        let expiry = Expiry::at(Utc::now(), &config.store);
        hosts::check(findings, &config.store, state, &expiry);
        dnsmasq::check(findings, options.server, &expiry.served(state), &config.store.hosts);
    }
    public::check(findings);
    clock::check(findings);
    let [hosts, users] = [state, users].map(|map| map.map_or(0, |map| map.len()));
    format!("{hosts} hosts, {users} users")
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
