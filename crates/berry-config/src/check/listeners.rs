//! The listeners must not want the same address.

use std::net::{IpAddr, SocketAddr};

use crate::check::Tables;
use crate::problem::Problems;

pub(crate) fn check(tables: &Tables, problems: &mut Problems) {
    let (server, admin) = (tables.top("server"), tables.top("admin"));
    let (Some(data), Some(control)) = (server.listen("listen"), admin.listen("listen")) else {
        return;
    };
    if clash(data, control) {
        let place = if admin.has("listen") { admin.at("listen") } else { server.at("listen") };
        let message = format!("the data listener ({data}) and the admin listener ({control}) want the same port");
        problems.error(&place, message, "give one of `server.listen` and `admin.listen` another port");
    }
}

/// Port 0 is any free one.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, other: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}
