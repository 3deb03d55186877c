//! FastCGI: the web server hands over requests through a socket, and this process stays for the
//! next one.
//!
//! A web server that cannot start a program for each request speaks FastCGI (nginx, Caddy), and so
//! do others, to save the start. What comes in is a listening socket as standard input,
//! `FCGI_LISTENSOCK_FILENO`. What goes out is what a CGI program would write, so whoever answers a
//! request need not know which it was. Nothing but the process is kept between requests.
//!
//! No crate does this: those that are kept up are asynchronous, and bring a runtime along.
//!
//! The modules:
//!
//! - [`record`]: what a connection consists of,
//! - [`request`]: a request is read from records, and its reply is put into records,
//! - `connection`: a connection of the web server, with its time limits,
//! - [`server`]: the process: accepts connections, and ends when it is told to or nobody needs it.

mod connection;
pub mod record;
pub mod request;
pub mod server;
