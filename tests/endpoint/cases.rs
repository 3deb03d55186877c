//! One table of cases, run over several transports: request and files before, answer and files after.

use crate::scene::{CREDENTIALS, Reply, Scene, eventually, hash, signed, signed_2, time};
use crate::transport::{Request, Transport, Way, is_changed_by_lighttpd};

const STATE: &str = r#"{
    "host1.h.lohray.com": {
        "ip": "127.0.0.10",
        "update": "2012-04-20 20:45:59"
    },
    "host2.h.lohray.com": {
        "ip": "127.0.0.20",
        "update": "2012-05-09 07:30:06",
        "note": "caf\u00e9 \/ 1",
        "n": 1.0
    },
    "host3.h.lohray.com": {
        "ip": "127.0.0.30",
        "update": "2012-04-19 04:54:21"
    }
}"#;

const HOSTS: &str = "127.0.0.10 host1.h.lohray.com\n127.0.0.20 host2.h.lohray.com\n\
                     127.0.0.30 host3.h.lohray.com\n";

/// The stamps that a case may use.
struct Times {
    now: String,
    earlier: String,
    later: String,
}

/// What becomes of the files.
enum After {
    /// Unchanged to the byte, and no restart.
    Same,
    /// The state with a new stamp for the host; the hosts file is the same file. No restart.
    Stamped(&'static str),
    /// These texts, with the request's stamp for `NOW`; one restart.
    Stored { state: String, hosts: String },
}

/// One row.
struct Case {
    name: &'static str,
    method: &'static str,
    address: &'static str,
    query: String,
    body: Option<String>,
    headers: &'static [&'static str],
    state: String,
    status: u16,
    line: String,
    after: After,
}

impl Case {
    /// A GET from host1's stored address.
    fn get(name: &'static str, query: impl Into<String>) -> Self {
        Self {
            name,
            method: "GET",
            address: "127.0.0.10",
            query: query.into(),
            body: None,
            headers: &[],
            state: STATE.to_owned(),
            status: 200,
            line: String::new(),
            after: After::Same,
        }
    }

    fn refused(self, status: u16, line: &str) -> Self {
        Self { status, line: line.to_owned(), after: After::Same, ..self }
    }

    fn badrequest(name: &'static str, query: impl Into<String>, what: &str) -> Self {
        Self::get(name, query).refused(400, &format!("badrequest {what}"))
    }

    fn from(self, address: &'static str) -> Self {
        Self { address, ..self }
    }

    fn with(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }

    fn state(self, state: impl Into<String>) -> Self {
        Self { state: state.into(), ..self }
    }

    fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn post(self, body: impl Into<String>) -> Self {
        Self { method: "POST", body: Some(body.into()), ..self }
    }

    fn stamped(self, host: &'static str) -> Self {
        let line = format!("nochg {}", self.address);
        Self { line, after: After::Stamped(host), ..self }
    }

    fn repeated(self) -> Self {
        let line = format!("nochg {}", self.address);
        Self { line, ..self }
    }

    /// With another answer than the connection's address would give.
    fn answered(self, status: u16, line: &str) -> Self {
        Self { status, line: line.to_owned(), ..self }
    }

    fn stored(self, state: impl Into<String>, hosts: impl Into<String>) -> Self {
        let line = format!("good {}", self.address);
        Self { line, after: After::Stored { state: state.into(), hosts: hosts.into() }, ..self }
    }
}

/// The state with another stamp for one host.
fn with_stamp(state: &str, host: &str, stamp: &str) -> String {
    let record = state.find(host).unwrap();
    let start = record + state[record..].find("\"update\": \"").unwrap() + "\"update\": \"".len();
    format!("{}{stamp}{}", &state[..start], &state[start + 19..])
}

const HOST1: &str = "host1.h.lohray.com";

fn moved(field: &str, address: &str) -> String {
    with_stamp(STATE, HOST1, "NOW")
        .replace("\"ip\": \"127.0.0.10\"", &format!("\"{field}\": \"{address}\""))
}

fn accepted(times: &Times) -> Vec<Case> {
    let query = signed("user1", "secretkey1", HOST1, &times.now);
    let rfc3339 = times.now.replace(' ', "T") + "+00:00";
    let sum = hash(HOST1, &times.now, "secretkey1");
    vec![
        Case::get("a redundant update stores the stamp alone", &query).stamped(HOST1),
        Case::get("a redundant update by POST", "").post(&query).stamped(HOST1),
        Case::get("a POST may have its parameters in the query", &query).post("").stamped(HOST1),
        Case::get("the plus sign is a space", query.replace("%20", "+")).stamped(HOST1),
        Case::get("upper-case digits", query.replace(&sum, &sum.to_uppercase())).stamped(HOST1),
        Case::get("unknown parameters are ignored", format!("x=%zz&{query}&myip=192.0.2.9"))
            .stamped(HOST1),
        Case::get("RFC 3339", signed("user1", "secretkey1", HOST1, &rfc3339)).stamped(HOST1),
        Case::get("ahead within the window", signed("user1", "secretkey1", HOST1, &times.later))
            .stamped(HOST1),
        Case::get("behind within the window", signed("user1", "secretkey1", HOST1, &times.earlier))
            .stamped(HOST1),
        Case::get("names have no case", signed("user1", "secretkey1", "HOST1.h.lohray.com", &times.now))
            .stamped(HOST1),
        Case::get(
            "a dot ends the name",
            signed("user1", "secretkey1", "host1.h.lohray.com.", &times.now),
        )
        .stamped(HOST1),
        Case::get("headers do not tell the address", &query)
            .with(&["X-Forwarded-For: 192.0.2.9", "Client-IP: 192.0.2.9", "Proxy: 192.0.2.9"])
            .stamped(HOST1),
        Case::get("a repeated delivery", &query)
            .state(with_stamp(STATE, HOST1, &times.now))
            .repeated(),
        Case::get("a new address", &query)
            .from("127.0.0.11")
            .stored(moved("ip", "127.0.0.11"), HOSTS.replace("127.0.0.10", "127.0.0.11")),
        Case::get("a new address by POST", "")
            .post(&query)
            .from("127.0.0.11")
            .stored(moved("ip", "127.0.0.11"), HOSTS.replace("127.0.0.10", "127.0.0.11")),
        Case::get("an IPv6 address comes beside the IPv4 address", &query).from("::1").stored(
            with_stamp(STATE, HOST1, "NOW")
                .replace("\"127.0.0.10\",", "\"127.0.0.10\",\n        \"ip6\": \"::1\","),
            HOSTS.replace("127.0.0.20", "::1 host1.h.lohray.com\n127.0.0.20"),
        ),
        Case::get("the first host of PHP's empty map", &query).state("[]").from("127.0.0.11").stored(
            // The result is not empty, because the hosts file has the names.
            "{\n    \"host1.h.lohray.com\": {\n        \"ip\": \"127.0.0.11\",\n        \"update\": \"NOW\"\n    },\n    \
             \"host2.h.lohray.com\": {\n        \"ip\": \"127.0.0.20\",\n        \"update\": \"1970-01-01 00:00:00\"\n    },\n    \
             \"host3.h.lohray.com\": {\n        \"ip\": \"127.0.0.30\",\n        \"update\": \"1970-01-01 00:00:00\"\n    }\n}",
            HOSTS.replace("127.0.0.10", "127.0.0.11"),
        ),
        Case::get("a host that the state does not know yet", signed("user2", "secretkey2", "host3.h.lohray.com", &times.now))
            .state("{\n    \"host1.h.lohray.com\": {\n        \"ip\": \"127.0.0.10\"\n    }\n}")
            .from("127.0.0.31")
            .stored(
                "{\n    \"host1.h.lohray.com\": {\n        \"ip\": \"127.0.0.10\"\n    },\n    \
                 \"host3.h.lohray.com\": {\n        \"ip\": \"127.0.0.31\",\n        \"update\": \"NOW\"\n    }\n}",
                "127.0.0.10 host1.h.lohray.com\n127.0.0.31 host3.h.lohray.com\n",
            ),
    ]
}

fn refused(times: &Times) -> Vec<Case> {
    let query = signed("user1", "secretkey1", HOST1, &times.now);
    let newer = with_stamp(STATE, HOST1, &times.later);
    let stored = with_stamp(STATE, HOST1, &times.now);
    let sum = hash(HOST1, &times.now, "secretkey1");
    let wrong = query.replace(&sum, "0e00000000000000000000000000000000000000");
    let no_line_feed = hex::encode(<sha1::Sha1 as sha1::Digest>::digest(format!(
        "{HOST1}\n{}\nsecretkey1",
        times.now
    )));
    vec![
        Case::get("a wrong hash", &wrong).refused(403, "badauth"),
        Case::get("a hash without the last line feed", query.replace(&sum, &no_line_feed))
            .refused(403, "badauth"),
        Case::get("an unknown user", query.replace("user1", "user9")).refused(403, "badauth"),
        Case::get("another user's hash", signed("user1", "secretkey2", HOST1, &times.now))
            .refused(403, "badauth"),
        Case::get("another user's host", signed("user2", "secretkey2", HOST1, &times.now))
            .refused(403, "nohost"),
        Case::get("the same request from another address", &query)
            .state(&stored)
            .from("127.0.0.66")
            .refused(403, "replay"),
        Case::get("an older stamp after a newer one", &query).state(&newer).refused(403, "replay"),
        Case::get("an older stamp from another address", &query)
            .state(&newer)
            .from("127.0.0.66")
            .refused(403, "replay"),
        Case::get("a stored stamp in the future", &query)
            .state(with_stamp(STATE, HOST1, "2999-01-01 00:00:00"))
            .refused(403, "replay"),
        Case::get("a stored stamp in the future is not ignored for a new address", &query)
            .state(with_stamp(STATE, HOST1, "2999-01-01 00:00:00"))
            .from("127.0.0.66")
            .refused(403, "replay"),
        Case::badrequest("no equals sign: arguments of a CGI", "-s+--help", "missing user"),
        Case::badrequest("no equals sign with escapes", "-h+x%20y", "missing user"),
        Case::badrequest("no query", "", "missing user"),
        Case::badrequest("a parameter twice", format!("{query}&id={HOST1}"), "repeated id"),
        Case::badrequest("an array of PHP", query.replace("id=", "id[]="), "missing id"),
        Case::badrequest("NUL", query.replace("host1", "host1%00"), "malformed id"),
        Case::badrequest("line feed", query.replace("host1", "host1%0a"), "malformed id"),
        Case::badrequest("broken escape", query.replace("user1", "user%zz"), "malformed user"),
        Case::badrequest(
            "bytes that are not UTF-8",
            query.replace("user1", "%ff%fe"),
            "malformed user",
        ),
        Case::badrequest("a space in a host name", query.replace("host1", "a%20b"), "malformed id"),
        Case::badrequest("39 digits", &query[..query.len() - 1], "malformed hash"),
        Case::badrequest("41 digits", format!("{query}0"), "overlong hash"),
        Case::badrequest(
            "30 February",
            query.replace(&times.now[5..10], "02-30"),
            "malformed timeST",
        ),
        Case::badrequest("24:00", query.replace(&times.now[11..13], "24"), "malformed timeST"),
        Case::badrequest("the year 0", query.replace(&times.now[..4], "0000"), "malformed timeST"),
        Case::badrequest(
            "strtotime's words",
            format!("user=user1&id={HOST1}&timeST=tomorrow&hash={sum}"),
            "malformed timeST",
        ),
        Case::badrequest("a long query", format!("x={}", "x".repeat(7000)), "missing user"),
        Case::get("a parameter in query and body", &query)
            .post(&query)
            .refused(400, "badrequest repeated user"),
        Case::get("a broken body", "").post("user=%").refused(400, "badrequest malformed user"),
        Case::get("HEAD", &query).method("HEAD").from("127.0.0.66").refused(405, "badmethod"),
        Case::get("PUT", &query).method("PUT").from("127.0.0.66").refused(405, "badmethod"),
        Case::get("DELETE", &query).method("DELETE").from("127.0.0.66").refused(405, "badmethod"),
        Case::get("OPTIONS", &query).method("OPTIONS").from("127.0.0.66").refused(405, "badmethod"),
        Case::get("a truncated state", &query)
            .state(&STATE[..STATE.len() - 1])
            .from("127.0.0.66")
            .refused(503, "911"),
        Case::get("a truncated state, redundant", &query)
            .state(&STATE[..STATE.len() - 1])
            .refused(503, "911"),
        Case::get("a state of another kind", &query).state("[1]").refused(503, "911"),
        Case::get("a deeply nested state", &query)
            .state(format!("{{\"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000)))
            .from("127.0.0.66")
            .refused(503, "911"),
        Case::get("a record without sense", &query)
            .state(format!("{{\"{HOST1}\": 5}}"))
            .refused(503, "911"),
        Case::get("a stored stamp without sense", &query)
            .state(STATE.replace("2012-04-20 20:45:59", "yesterday"))
            .refused(503, "911"),
    ]
}

/// A request of protocol 2 by the article's first user, for some hosts.
fn request_2(ids: &str, times: &Times, addresses: [&str; 2]) -> String {
    signed_2("user1", "secretkey1", ids, &times.now, addresses)
}

fn accepted_by_protocol_2(times: &Times) -> Vec<Case> {
    let request = |addresses| request_2(HOST1, times, addresses);
    let [both, hosts_of_both] = both_families(times);
    let both_now = with_stamp(&both, HOST1, "NOW");
    let list = "host1.h.lohray.com,host2.h.lohray.com";
    let list_now = with_stamp(&with_stamp(STATE, HOST1, "NOW"), "host2", "NOW");
    let list_moved = list_now.replace("127.0.0.10", "192.0.2.1").replace("127.0.0.20", "192.0.2.1");
    let hosts_moved = HOSTS.replace("127.0.0.10", "192.0.2.1").replace("127.0.0.20", "192.0.2.1");
    // A request can name no loopback address.
    let named = |state: &str| state.replace("127.0.0.10", "192.0.2.10");
    vec![
        Case::get("2: the address of the connection", request(["", ""])).stamped(HOST1),
        Case::get("2: a new address of the connection", request(["", ""]))
            .from("127.0.0.11")
            .stored(moved("ip", "127.0.0.11"), HOSTS.replace("127.0.0.10", "127.0.0.11")),
        Case::get("2: empty addresses are none", request(["", ""]) + "&ip=&ip6=").stamped(HOST1),
        Case::get(
            "2: upper-case digits",
            request(["", ""])
                .replace("hmac=", "HMAC=")
                .to_uppercase()
                .replace("USER=USER1", "user=user1")
                .replace("ID=HOST1.H.LOHRAY.COM", "id=host1.h.lohray.com")
                .replace("TIMEST", "timeST")
                .replace("HMAC", "hmac"),
        )
        .stamped(HOST1),
        Case::get("2: the signed address counts", request(["192.0.2.1", ""]))
            .from("127.0.0.66")
            .stored(moved("ip", "192.0.2.1"), HOSTS.replace("127.0.0.10", "192.0.2.1"))
            .answered(200, "good 192.0.2.1"),
        Case::get("2: by POST", "")
            .post(request(["192.0.2.1", ""]))
            .stored(moved("ip", "192.0.2.1"), HOSTS.replace("127.0.0.10", "192.0.2.1"))
            .answered(200, "good 192.0.2.1"),
        Case::get("2: a signed address that is stored", request(["192.0.2.10", ""]))
            .from("127.0.0.66")
            .state(named(STATE))
            .stamped(HOST1)
            .answered(200, "nochg 192.0.2.10"),
        Case::get("2: a captured request changes nothing", request(["192.0.2.10", ""]))
            .from("127.0.0.66")
            .state(with_stamp(&named(STATE), HOST1, &times.now))
            .answered(200, "nochg 192.0.2.10"),
        Case::get("2: both families", request(["192.0.2.10", "2001:DB8:0::1"]))
            .stored(named(&both_now), named(&hosts_of_both))
            .answered(200, "good 192.0.2.10,2001:db8::1"),
        Case::get("2: IPv6 leaves IPv4 alone", request(["", "2001:db8::1"]))
            .stored(both_now.clone(), hosts_of_both.clone())
            .answered(200, "good 2001:db8::1"),
        Case::get("2: IPv4 leaves IPv6 alone", request(["192.0.2.10", ""]))
            .state(named(&both))
            .stamped(HOST1)
            .answered(200, "nochg 192.0.2.10"),
        Case::get("2: a new IPv4 address leaves IPv6 alone", request(["192.0.2.10", ""]))
            .state(&both)
            .stored(named(&both_now), named(&hosts_of_both))
            .answered(200, "good 192.0.2.10"),
        Case::get("2: no IPv6 any more", request(["", "none"]))
            .state(&both)
            .stored(with_stamp(STATE, HOST1, "NOW"), HOSTS)
            .answered(200, "good none"),
        Case::get("2: IPv6 in the place of IPv4", request(["none", "2001:db8::2"]))
            .stored(moved("ip6", "2001:db8::2"), HOSTS.replace("127.0.0.10", "2001:db8::2"))
            .answered(200, "good 2001:db8::2"),
        Case::get("2: no address any more", request(["none", "none"]))
            .stored(
                with_stamp(STATE, HOST1, "NOW").replace("        \"ip\": \"127.0.0.10\",\n", ""),
                HOSTS.replace("127.0.0.10 host1.h.lohray.com\n", ""),
            )
            .answered(200, "good none"),
        Case::get("2: none where there is none", request(["", "none"]))
            .stamped(HOST1)
            .answered(200, "nochg none"),
        Case::get("2: a list is stored by one restart", request_2(list, times, ["192.0.2.1", ""]))
            .stored(list_moved.clone(), hosts_moved.clone())
            .answered(200, "good 192.0.2.1\ngood 192.0.2.1"),
        Case::get("2: a list of which one changes", request_2(list, times, ["192.0.2.10", ""]))
            .state(named(STATE))
            .stored(
                named(&list_now).replace("127.0.0.20", "192.0.2.10"),
                named(HOSTS).replace("127.0.0.20", "192.0.2.10"),
            )
            .answered(200, "nochg 192.0.2.10\ngood 192.0.2.10"),
        Case::get(
            "2: a user who must use it",
            signed_2("user3", "secretkey3", "host3.h.lohray.com", &times.now, ["192.0.2.30", ""]),
        )
        .state(STATE.replace("127.0.0.30", "192.0.2.30"))
        .stamped("host3")
        .answered(200, "nochg 192.0.2.30"),
    ]
}

/// Prefixes, and addresses that no host can have.
fn accepted_prefixes(times: &Times) -> Vec<Case> {
    let request = |addresses| request_2(HOST1, times, addresses);
    let [both, hosts_of_both] = both_families(times);
    let both_now = with_stamp(&both, HOST1, "NOW");
    let named = |state: &str| state.replace("127.0.0.10", "192.0.2.10");
    vec![
        Case::get("2: a prefix moves the stored address", request(["", "2001:db8:5::/48"]))
            .state(both.replace("2001:db8::1", "2001:db8:9:7::1"))
            .stored(
                both_now.replace("2001:db8::1", "2001:db8:5:7::1"),
                hosts_of_both.replace("2001:db8::1", "2001:db8:5:7::1"),
            )
            .answered(200, "good 2001:db8:5:7::1"),
        Case::get("2: a prefix that is stored", request(["", "2001:db8::/64"]))
            .state(&both)
            .stamped(HOST1)
            .answered(200, "nochg 2001:db8::1"),
        Case::get("2: a prefix for an identifier", request(["192.0.2.10", "2001:db8:5::/64"]))
            .state(both.replace("2001:db8::1", "::7:1"))
            .stored(
                named(&both_now).replace("2001:db8::1", "2001:db8:5::7:1"),
                named(&hosts_of_both).replace("2001:db8::1", "2001:db8:5::7:1"),
            )
            .answered(200, "good 192.0.2.10,2001:db8:5::7:1"),
        Case::get("2: a prefix beside an IPv4 address", request(["192.0.2.10", "2001:db8::/64"]))
            .state(named(STATE))
            .stamped(HOST1)
            .answered(200, "nochg 192.0.2.10"),
        Case::get("2: an address that no host can have", request(["0.0.0.0", "2001:db8::1"]))
            .stored(both_now.clone(), hosts_of_both.clone())
            .answered(200, "good 2001:db8::1"),
    ]
}

/// The state and the hosts file if host1 has an IPv6 address, too.
fn both_families(times: &Times) -> [String; 2] {
    [
        with_stamp(STATE, HOST1, &times.earlier)
            .replace("\"127.0.0.10\",", "\"127.0.0.10\",\n        \"ip6\": \"2001:db8::1\","),
        HOSTS.replace("127.0.0.20", "2001:db8::1 host1.h.lohray.com\n127.0.0.20"),
    ]
}

fn refused_by_protocol_2(times: &Times) -> Vec<Case> {
    let request = |addresses| request_2(HOST1, times, addresses);
    let signed_elsewhere = request(["192.0.2.1", ""]);
    let list = |ids: &str| request_2(ids, times, ["192.0.2.1", ""]);
    let stored = with_stamp(STATE, HOST1, &times.now);
    let sum = hash(HOST1, &times.now, "secretkey1");
    let hosts_moved = HOSTS.replace("127.0.0.10", "192.0.2.1");
    vec![
        Case::get(
            "2: another address than the signed one",
            signed_elsewhere.replace("192.0.2.1", "192.0.2.2"),
        )
        .refused(403, "badauth"),
        Case::get("2: without the signed address", signed_elsewhere.replace("&ip=192.0.2.1", ""))
            .refused(403, "badauth"),
        Case::get(
            "2: the signed address as one of the other family",
            signed_elsewhere.replace("&ip=192.0.2.1", "&ip6=2001:db8::1"),
        )
        .refused(403, "badauth"),
        Case::get(
            "2: one host more than signed",
            signed_elsewhere.replace(HOST1, "host1.h.lohray.com,host2.h.lohray.com"),
        )
        .refused(403, "badauth"),
        Case::get(
            "2: an unknown user",
            signed_2("user9", "secretkey1", HOST1, &times.now, ["", ""]),
        )
        .refused(403, "badauth"),
        Case::get(
            "2: another user's key",
            signed_2("user1", "secretkey2", HOST1, &times.now, ["", ""]),
        )
        .refused(403, "badauth"),
        Case::get(
            "protocol 1 of a user who must use 2",
            signed("user3", "secretkey3", "host3.h.lohray.com", &times.now),
        )
        .refused(403, "badauth"),
        Case::get("2: a captured request without an address", request(["", ""]))
            .from("127.0.0.66")
            .state(&stored)
            .refused(403, "replay"),
        Case::get("2: the other family in the same second", request(["", "2001:db8::1"]))
            .state(&stored)
            .refused(403, "replay"),
        Case::get(
            "2: another user's host of a list",
            list("host1.h.lohray.com,host3.h.lohray.com"),
        )
        .stored(moved("ip", "192.0.2.1"), &hosts_moved)
        .answered(403, "good 192.0.2.1\nnohost"),
        Case::get(
            "2: a replay for one host of a list",
            list("host2.h.lohray.com,host1.h.lohray.com"),
        )
        .state(&stored)
        .stored(
            with_stamp(&stored, "host2", "NOW").replace("127.0.0.20", "192.0.2.1"),
            HOSTS.replace("127.0.0.20", "192.0.2.1"),
        )
        .answered(403, "good 192.0.2.1\nreplay"),
        Case::badrequest(
            "both signatures",
            format!("{}&hash={sum}", request(["", ""])),
            "conflicting hash",
        ),
        Case::badrequest(
            "an address in protocol 1",
            signed("user1", "secretkey1", HOST1, &times.now) + "&ip=127.0.0.10",
            "conflicting ip",
        ),
        Case::badrequest(
            "an IPv6 address in protocol 1",
            signed("user1", "secretkey1", HOST1, &times.now) + "&ip6=",
            "conflicting ip6",
        ),
        Case::badrequest("2: IPv6 for IPv4", request(["2001:db8::1", ""]), "malformed ip"),
        Case::badrequest("2: IPv4 for IPv6", request(["", "192.0.2.1"]), "malformed ip6"),
        Case::badrequest("2: mapped IPv4", request(["", "::ffff:192.0.2.1"]), "malformed ip6"),
        Case::badrequest("2: no address", request(["192.0.2", ""]), "malformed ip"),
        Case::badrequest(
            "2: a host twice",
            list("host1.h.lohray.com,HOST1.h.lohray.com"),
            "repeated id",
        ),
        Case::badrequest("2: 33 hosts", list(&["a"; 33].join(",")), "overlong id"),
        Case::badrequest("2: an empty host", list("host1.h.lohray.com,"), "malformed id"),
        Case::badrequest(
            "2: 62 digits",
            &request(["", ""])[..request(["", ""]).len() - 2],
            "malformed hmac",
        ),
    ]
}

/// Prefixes, and addresses that no host can have.
fn refused_prefixes(times: &Times) -> Vec<Case> {
    let request = |addresses| request_2(HOST1, times, addresses);
    let prefixed =
        STATE.replace("\"127.0.0.10\",", "\"127.0.0.10\",\n        \"ip6\": \"2001:db8:9::1\",");
    vec![
        Case::get(
            "2: another length than the signed one",
            request(["", "2001:db8::/64"]).replace("/64", "/56"),
        )
        .refused(403, "badauth"),
        Case::get("2: a prefix without an address", request(["", "2001:db8::/64"]))
            .refused(403, "noip6"),
        Case::get("2: a captured prefix", request(["", "2001:db8::/64"]))
            .from("127.0.0.66")
            .state(with_stamp(&prefixed, HOST1, &times.later))
            .refused(403, "replay"),
        Case::badrequest("2: no address of a host", request(["0.0.0.0", ""]), "unusable ip"),
        Case::badrequest("2: a link-local one", request(["", "fe80::1"]), "unusable ip6"),
        Case::badrequest("2: an identifier alone", request(["", "::7:1"]), "unusable ip6"),
        Case::badrequest("2: an address with a length", request(["", "::1/64"]), "unusable ip6"),
        Case::badrequest("2: the prefix of all", request(["", "::/0"]), "unusable ip6"),
        Case::badrequest("2: a prefix for IPv4", request(["192.0.2.0/24", ""]), "malformed ip"),
        Case::badrequest(
            "2: an address by an unknown name",
            request(["", ""]) + "&myip=192.0.2.1",
            "unknown parameter",
        ),
    ]
}

/// Puts the files where the case begins, sends its request, and compares.
fn check(scene: &Scene, transport: &Transport, case: &Case, times: &Times) {
    let name = case.name;
    scene.reset(&case.state, HOSTS);
    let hosts_file = inode(scene);
    let Case { method, address, ref query, headers, .. } = *case;
    let body = case.body.as_deref();
    let request = Request { method, address, query: Some(query), body, headers, ..Request::GET };
    let reply = transport.reply(scene, &request);
    if case.status == 400 && is_changed_by_lighttpd(query, &reply.headers) {
        assert!([400, 403].contains(&reply.status), "{name}: {reply:?}");
        assert_eq!(scene.state(), case.state, "{name}");
        scene.write(transport.server().unwrap().log(), "");
        return;
    }
    assert_eq!(reply.status, case.status, "{name}: {reply:?}");
    let has_body = case.method != "HEAD" || transport.server().is_none();
    assert_eq!(reply.line, if has_body { case.line.as_str() } else { "" }, "{name}: {reply:?}");
    assert!(reply.headers.contains("Cache-Control: no-store"), "{name}: {reply:?}");
    assert!(reply.headers.contains("Content-Type: text/plain; charset=utf-8"), "{name}: {reply:?}");
    assert_eq!(reply.headers.contains("Allow: GET, POST"), case.status == 405, "{name}: {reply:?}");
    assert_eq!(reply.headers.contains("Retry-After: "), case.status == 503, "{name}: {reply:?}");
    scene.settle();
    let restarts = match &case.after {
        After::Same => {
            assert_eq!(scene.state(), case.state, "{name}");
            assert_eq!(inode(scene), hosts_file, "{name}");
            0
        }
        After::Stamped(host) => {
            let stamp = case.query.contains(&times.later[11..]).then_some(&times.later);
            let stamp =
                stamp.or(case.query.contains(&times.earlier[11..]).then_some(&times.earlier));
            let expected = with_stamp(&case.state, host, stamp.unwrap_or(&times.now));
            assert_eq!(scene.state(), expected, "{name}");
            assert_eq!(inode(scene), hosts_file, "{name}: the hosts file is left alone");
            0
        }
        After::Stored { state, hosts } => {
            assert_eq!(scene.state(), state.replace("NOW", &times.now), "{name}");
            assert_eq!(scene.hosts(), *hosts, "{name}");
            1
        }
    };
    assert_eq!(scene.restarts().len(), restarts, "{name}: restarts");
    assert!(!scene.mark().exists(), "{name}: the mark");
    log_is_right(transport, scene, &reply, case);
}

/// One line in the log for a refusal or a fault, none for a success.
fn log_is_right(transport: &Transport, scene: &Scene, reply: &Reply, case: &Case) {
    let name = case.name;
    let expected = usize::from(case.status != 200);
    let ours = |log: &str| {
        log.lines().filter(|line| line.contains("ddns-cgi: ") && !line.contains("notice")).count()
    };
    let Some(server) = transport.server() else {
        assert_eq!(ours(&reply.log), expected, "{name}: {}", reply.log);
        return;
    };
    // Some servers write it when the request is over.
    let read = || scene.read(server.log());
    eventually("the line is in the server's log", || ours(&read()) >= expected);
    assert_eq!(ours(&read()), expected, "{name}");
    // All append, so they go on at the new end.
    scene.write(server.log(), "");
}

fn inode(scene: &Scene) -> (u64, i64, i64, String) {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(scene.path("www/ramcache/hosts.dns")).unwrap();
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), scene.hosts())
}

fn run_all(scene: &Scene, transport: &Transport) {
    // The article's, with a user bound to protocol 2.
    let users = CREDENTIALS.trim_end().strip_suffix('}').unwrap();
    let strict = r#""user3": {"id": ["host3.h.lohray.com"], "key": "secretkey3", "signature": "hmac-sha256"}"#;
    scene.write("etc/credentials.json", &format!("{users}, {strict}}}"));
    for pick in [
        accepted,
        refused,
        accepted_by_protocol_2,
        refused_by_protocol_2,
        accepted_prefixes,
        refused_prefixes,
    ] {
        for index in 0..pick(&now()).len() {
            let times = now();
            check(scene, transport, &pick(&times)[index], &times);
        }
    }
}

/// Made for each case, because a slow machine could make older ones stale.
fn now() -> Times {
    Times { now: time(0), earlier: time(-8), later: time(8) }
}

fn run_all_through(way: Way) {
    if way.can_run("every case") {
        let scene = Scene::new();
        let transport = way.start(&scene);
        run_all(&scene, &transport);
    }
}

#[test]
fn every_case_in_the_bare_environment() {
    run_all_through(Way::BareCgi);
}

#[test]
fn every_case_through_fastcgi_without_a_web_server() {
    run_all_through(Way::BareFastCgi);
}

#[test]
fn every_case_through_apache_prefork_with_mod_cgi() {
    run_all_through(Way::ApachePreforkCgi);
}

#[test]
fn every_case_through_apache_event_with_mod_cgid() {
    run_all_through(Way::ApacheEventCgid);
}

#[test]
fn every_case_through_apache_with_mod_proxy_fcgi() {
    run_all_through(Way::ApacheFastCgi);
}

#[test]
fn every_case_through_apache_with_mod_fcgid() {
    run_all_through(Way::ApacheFcgid);
}

#[test]
fn every_case_through_nginx() {
    run_all_through(Way::Nginx);
}

#[test]
fn every_case_through_nginx_with_fcgiwrap() {
    run_all_through(Way::NginxFcgiwrap);
}

#[test]
fn every_case_through_lighttpd() {
    run_all_through(Way::Lighttpd);
}

#[test]
fn every_case_through_a_program_that_lighttpd_starts() {
    run_all_through(Way::LighttpdOwn);
}

#[test]
fn every_case_through_lighttpd_with_mod_cgi() {
    run_all_through(Way::LighttpdCgi);
}

#[test]
fn every_case_through_caddy() {
    run_all_through(Way::Caddy);
}
