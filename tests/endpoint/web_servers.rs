//! `docs/web-servers.md`: its settings as printed, and what every web server has to do.

const PAGE: &str = include_str!("../../docs/web-servers.md");

/// The one block of the page in this language that contains this text.
fn block(language: &str, text: &str) -> String {
    let opening = format!("```{language}\n");
    let blocks = PAGE.split(opening.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap());
    let found: Vec<&str> = blocks.filter(|block| block.contains(text)).collect();
    let [block] = *found else { panic!("{text}: {found:?}") };
    block.to_owned()
}

/// The lines for nginx with fcgiwrap.
pub fn fcgiwrap() -> String {
    block("nginx", "/run/fcgiwrap.socket")
}

/// The lines for lighttpd with mod_cgi.
pub fn lighttpd_cgi() -> String {
    block("lighttpd", "cgi.assign")
}

/// The lines for a lighttpd that starts the program itself.
pub fn lighttpd_own() -> String {
    block("lighttpd", "bin-path")
}

/// The lines for Apache with mod_fcgid.
pub fn fcgid() -> String {
    block("apache", "fcgid-script")
}
